import { mkdirSync, symlinkSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { findManifests, ManifestError, readManifest } from '../../syncer/files/manifests.ts';
import { Folder } from './folder.ts';

describe('finding', () => {
  test('takes YAML and JSON in folders of folders, in the order of their names', () => {
    using folder = new Folder();
    for (const name of [
      'b.yml',
      'a.yaml',
      'sub/c.json',
      'sub/deep/d.yaml',
      'README.md',
      'x.yaml~',
    ]) {
      folder.write(name, '');
    }
    expect(findManifests([folder.path])).toEqual({
      files: ['a.yaml', 'b.yml', 'sub/c.json', 'sub/deep/d.yaml'].map((it) => folder.at(it)),
      folders: ['', 'sub', 'sub/deep'].map((it) => folder.at(it)),
    });
  });

  test('leaves out what is hidden and what npm brought', () => {
    using folder = new Folder();
    for (const name of ['.hidden.yaml', '.git/a.yaml', 'node_modules/x/a.yaml']) {
      folder.write(name, '');
    }
    expect(findManifests([folder.path]).files).toEqual([]);
  });

  test('takes a file that was named whatever it is called', () => {
    using folder = new Folder();
    const file = folder.write('manifest.txt', '');
    expect(findManifests([file])).toEqual({ files: [file], folders: [] });
  });

  test('reads a file once, however many links lead to it', () => {
    using folder = new Folder();
    // As a kubelet mounts a ConfigMap: the name is a link through a hidden folder.
    const file = folder.write('..2026/web.yaml', '');
    symlinkSync('..2026', folder.at('..data'));
    symlinkSync('..data/web.yaml', folder.at('web.yaml'));
    symlinkSync('web.yaml', folder.at('again.yaml'));
    expect(findManifests([folder.path, folder.path, file]).files).toEqual([
      folder.at('again.yaml'),
    ]);
  });

  test('passes over links that lead nowhere or in a circle', () => {
    using folder = new Folder();
    symlinkSync('nowhere', folder.at('dangling.yaml'));
    symlinkSync('circle.yaml', folder.at('circle.yaml'));
    mkdirSync(folder.at('sub'));
    symlinkSync('..', folder.at('sub/up'));
    expect(findManifests([folder.path]).files).toEqual([]);
  });

  test('names a path that is not there', () => {
    using folder = new Folder();
    const missing = folder.at('missing');
    expect(() => findManifests([folder.path, missing])).toThrow(
      new ManifestError(`${missing}: no such file or folder`),
    );
  });
});

describe('reading', () => {
  const read = (content: string, name = 'objects.yaml') => {
    using folder = new Folder();
    const file = folder.write(name, content);
    try {
      return readManifest(file);
    } catch (error) {
      if (!(error instanceof ManifestError)) throw error;
      return error.message.replace(folder.path, '.');
    }
  };

  test.each([
    ['nothing', '', []],
    ['comments and empty documents', '# a\n---\n---\n# b\n---\n', []],
    ['several documents', 'a: 1\n---\nb: 2\n...\n---\nc: 3\n', [{ a: 1 }, { b: 2 }, { c: 3 }]],
    [
      'line ends of Windows and a byte order mark',
      '\ufeffa: 1\r\n---\r\nb: 2\r\n',
      [{ a: 1 }, { b: 2 }],
    ],
    ['JSON with tabs', '{\n\t"a": [\n\t\t1\n\t]\n}\n', [{ a: [1] }]],
    ['a List', 'kind: List\nitems: [{ a: 1 }, { b: 2 }]', [{ a: 1 }, { b: 2 }]],
    ['a List of Lists', 'kind: List\nitems: [{ kind: List, items: [{ a: 1 }] }]', [{ a: 1 }]],
    ['an empty List', 'kind: List\nitems: []', []],
    [
      'a merge key, as go-yaml has it',
      'a: &a { x: 1, y: 1 }\nb: { <<: *a, y: 2 }',
      [{ a: { x: 1, y: 1 }, b: { x: 1, y: 2 } }],
    ],
  ])('gives %s as objects', (_, content, objects) => {
    expect(read(content)).toEqual(objects);
  });

  test('says of which kind the items of a typed list are, which the API leaves out', () => {
    const list = { apiVersion: 'networking.k8s.io/v1', kind: 'IngressList' };
    const items = [{ metadata: { name: 'a' } }, { kind: 'Ingress', apiVersion: 'other/v1' }];
    expect(read(JSON.stringify({ ...list, items }), 'list.json')).toEqual([
      { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', metadata: { name: 'a' } },
      { kind: 'Ingress', apiVersion: 'other/v1' },
    ]);
  });

  test.each([
    [
      'a: 1\nb: [\n',
      './objects.yaml:3: Flow sequence in block collection must be sufficiently indented and end with a ]',
    ],
    ['a: 1\n---\na: 1\na: 2\n', './objects.yaml:4: Map keys must be unique'],
    ['a: b: c\n', './objects.yaml:1: Nested mappings are not allowed in compact mappings'],
    [
      'kind: Ingress\nspec:\n  rules:\n    - host: *.example.com\n',
      './objects.yaml:4: "*" begins an alias that is not defined; put a value such as *.example.com in quotes',
    ],
  ])('says what is wrong on which line of %j', (content, message) => {
    expect(read(content)).toBe(message);
  });

  test.each([
    ['password: |hunter2'],
    ['password: >hunter2'],
    ['password: *hunter2'],
    ['password: !<hunter2'],
    ['password: "hunter2'],
    ['password: hunter2: hunter2'],
    ['password: }hunter2'],
    ['password: hunter2\n hunter2: a'],
    ['password: %hunter2\n'],
    ['password: @hunter2\n'],
  ])('does not quote the content, which may be a secret: %j', (content) => {
    const message = read(`kind: Secret\nstringData:\n  ${content}`);
    expect(message).toMatch(/^\.\/objects\.yaml:\d: .{10}/);
    expect(message).not.toContain('hunter2');
  });

  test('does not unfold a bomb', () => {
    const lines = ['l0: &l0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 9; i++) {
      lines.push(
        `l${i}: &l${i} [${Array(10)
          .fill(`*l${i - 1}`)
          .join(', ')}]`,
      );
    }
    expect(read(lines.join('\n'))).toBe('./objects.yaml: its aliases unfold to too much');
  });

  test('names a file that cannot be read', () => {
    using folder = new Folder();
    expect(() => readManifest(folder.at('gone.yaml'))).toThrow(/gone\.yaml: ENOENT/);
    expect(() => readManifest(folder.path)).toThrow(ManifestError);
  });
});
