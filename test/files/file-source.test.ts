import { mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { FileSource } from '../../syncer/files/file-source.ts';
import { Folder } from './folder.ts';

/** A source that was started, and the way to wait for what it notices. */
class Watched implements AsyncDisposable {
  readonly source: FileSource;
  #heard: () => void = () => {};

  static async of(...paths: string[]): Promise<Watched> {
    const watched = new Watched(new FileSource({ paths, nodeAddress: null }));
    await watched.source.start(() => watched.#heard());
    return watched;
  }

  private constructor(source: FileSource) {
    this.source = source;
  }

  /** Resolves as soon as a change was announced after which the state is like that. */
  async until(state: Partial<Seen>): Promise<void> {
    while (true) {
      const next = new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
      const seen = this.seen();
      if (Object.entries(state).every(([key, value]) => equal(Reflect.get(seen, key), value)))
        return;
      await next;
    }
  }

  seen(): Seen {
    const { services, endpointSlices, problems } = this.source.state();
    return {
      services: services.map(({ name, ports }) => `${name}:${ports[0]?.port}`),
      addresses: endpointSlices.flatMap((it) => it.endpoints.flatMap((e) => e.addresses)),
      problems: problems.map(({ object, message }) => `${object.kind}: ${message}`),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.source.stop();
  }
}

interface Seen {
  readonly services: readonly string[];
  readonly addresses: readonly string[];
  readonly problems: readonly string[];
}

function equal(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function service(name: string, port: unknown = 80): string {
  return `apiVersion: v1\nkind: Service\nmetadata: { name: ${name} }\nspec: { ports: [{ port: ${port} }] }\n`;
}

function endpoints(ip: string): string {
  return `apiVersion: v1\nkind: Endpoints\nmetadata: { name: web }\nsubsets: [{ addresses: [{ ip: ${ip} }] }]\n`;
}

const OK: readonly string[] = [];

describe('what is wrong', () => {
  test('a broken file serves on with its last good content until it is mended', async () => {
    using folder = new Folder();
    const file = folder.write('web.yaml', service('web'));
    await using watched = await Watched.of(folder.path);
    folder.write('web.yaml', 'kind: [\n');
    await watched.until({
      services: ['web:80'],
      problems: [
        `File: ${file}:2: Flow sequence in block collection must be sufficiently indented and end with a ]; the last good content of the file serves on`,
      ],
    });
    folder.write('web.yaml', service('web', 81));
    await watched.until({ services: ['web:81'], problems: OK });
  });

  test('a broken file that never was good serves nothing, and hurts no other', async () => {
    using folder = new Folder();
    folder.write('web.yaml', service('web'));
    await using watched = await Watched.of(folder.path);
    const file = folder.write('new.yaml', 'a: 1\na: 2\n');
    await watched.until({
      services: ['web:80'],
      problems: [`File: ${file}:2: Map keys must be unique; nothing of the file is served`],
    });
  });

  test('an invalid object serves on in its last good form, beside the others of its file', async () => {
    using folder = new Folder();
    const file = folder.write('web.yaml', `${service('web')}---\n${service('api')}`);
    await using watched = await Watched.of(folder.path);
    folder.write('web.yaml', `${service('web', 'http')}---\n${service('api', 81)}`);
    await watched.until({
      services: ['api:81', 'web:80'],
      problems: [
        `Service: ${file}: spec.ports[0].port must be a number, not "http"; its last good form serves on`,
      ],
    });
    // Its last good form outlives a second bad one.
    folder.write('web.yaml', `${service('web', 'https')}---\n${service('api', 82)}`);
    await watched.until({ services: ['api:82', 'web:80'] });
    folder.write('web.yaml', `${service('web', 90)}---\n${service('api', 82)}`);
    await watched.until({ services: ['api:82', 'web:90'], problems: OK });
  });

  test('invalid Endpoints serve on in their last good form too', async () => {
    using folder = new Folder();
    const file = folder.write('web.yaml', endpoints('10.0.0.1'));
    await using watched = await Watched.of(file);
    folder.write('web.yaml', endpoints('[]'));
    await watched.until({
      addresses: ['10.0.0.1'],
      problems: [
        `Endpoints: ${file}: subsets[0].addresses[0].ip must be text, not a list; its last good form serves on`,
      ],
    });
  });

  test('at the start there is nothing good to keep: a missing path and a broken file are errors', () => {
    using folder = new Folder();
    const read = (path: string) => () =>
      new FileSource({ paths: [path], nodeAddress: null }).read();
    expect(read(folder.at('missing'))).toThrow(`${folder.at('missing')}: no such file or folder`);
    const file = folder.write('web.yaml', 'a: 1\na: 2\n');
    expect(read(folder.path)).toThrow(`${file}:2: Map keys must be unique`);
  });

  test('an object that is defined twice counts once, and differing is a problem', async () => {
    using folder = new Folder();
    const key = (text: string) =>
      `apiVersion: v1\nkind: Secret\nmetadata: { name: tls }\nstringData: { tls.key: ${text} }\n`;
    folder.write('a.yaml', `${service('web')}---\n${service('api')}---\n${key('one')}`);
    const second = folder.write(
      'b.yaml',
      `${service('web', 81)}---\n${service('api')}---\n${key('two')}`,
    );
    await using watched = await Watched.of(folder.path);
    const again = `is defined again, and differently, in ${second}; the first definition is used`;
    expect(watched.seen()).toMatchObject({
      services: ['api:80', 'web:80'],
      problems: [`Service: ${again}`, `Secret: ${again}`],
    });
    expect(watched.source.state().secrets.map((it) => it.privateKey.reveal())).toEqual(['one']);
  });
});

describe('what changes', () => {
  test('a new file, a new folder, and what goes into it later', async () => {
    using folder = new Folder();
    await using watched = await Watched.of(folder.path);
    folder.write('a.yaml', service('a'));
    await watched.until({ services: ['a:80'] });
    folder.write('sub/deep/b.yaml', service('b'));
    await watched.until({ services: ['a:80', 'b:80'] });
    folder.write('sub/deep/c.yaml', service('c'));
    await watched.until({ services: ['a:80', 'b:80', 'c:80'] });
  });

  test('a file that is deleted, renamed, or no manifest any more', async () => {
    using folder = new Folder();
    for (const name of ['a', 'b', 'c']) folder.write(`${name}.yaml`, service(name));
    await using watched = await Watched.of(folder.path);
    rmSync(folder.at('a.yaml'));
    await watched.until({ services: ['b:80', 'c:80'] });
    renameSync(folder.at('b.yaml'), folder.at('d.yaml'));
    renameSync(folder.at('c.yaml'), folder.at('c.yaml.off'));
    await watched.until({ services: ['b:80'] });
    folder.write('d.yaml', service('d'));
    await watched.until({ services: ['d:80'] });
  });

  test('a file that is replaced by renaming, as editors do, again and again', async () => {
    using folder = new Folder();
    const file = folder.write('web.yaml', service('web', 1));
    await using watched = await Watched.of(file);
    for (const port of [2, 3, 4]) {
      renameSync(folder.write('web.yaml.new', service('web', port)), file);
      await watched.until({ services: [`web:${port}`] });
    }
  });

  test('the target of a link, in place and by another link', async () => {
    using elsewhere = new Folder();
    using folder = new Folder();
    elsewhere.write('one/web.yaml', service('web', 1));
    elsewhere.write('two/web.yaml', service('web', 3));
    // As a kubelet mounts a ConfigMap and changes it.
    symlinkSync(elsewhere.at('one'), folder.at('..data'));
    symlinkSync('..data/web.yaml', folder.at('web.yaml'));
    await using watched = await Watched.of(folder.path);
    elsewhere.write('one/web.yaml', service('web', 2));
    await watched.until({ services: ['web:2'] });
    symlinkSync(elsewhere.at('two'), folder.at('..new'));
    renameSync(folder.at('..new'), folder.at('..data'));
    await watched.until({ services: ['web:3'] });
  });

  test('a path that goes serves on, says so, and is read again when it is back', async () => {
    using folder = new Folder();
    folder.write('manifests/web.yaml', service('web'));
    const path = folder.at('manifests');
    await using watched = await Watched.of(path);
    rmSync(path, { recursive: true });
    await watched.until({
      services: ['web:80'],
      problems: [`File: ${path}: no such file or folder; what was read before serves on`],
    });
    mkdirSync(path);
    folder.write('manifests/web.yaml', service('web', 81));
    await watched.until({ services: ['web:81'], problems: OK });
  });

  test('nothing, once stopped', async () => {
    using folder = new Folder();
    folder.write('web.yaml', service('web'));
    const watched = await Watched.of(folder.path);
    folder.write('web.yaml', service('web', 81));
    await watched.source.stop();
    expect(watched.seen().services).toEqual(['web:80']);
  });
});
