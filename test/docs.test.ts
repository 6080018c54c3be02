/** What docs/ and deploy/ promise in tables and commands is so. */
import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { compareText } from '../snapshot/precedence.ts';
import { PROBLEM_REASONS } from '../snapshot/types.ts';
import {
  CertificateLedger,
  type CertificateRow,
} from '../syncer/certificates/certificate-ledger.ts';
import { certificateIn } from './certificates/support/edge.ts';
import { LocalCloudflare } from './publish/support/cloudflare.ts';
import { servedByD1 } from './publish/support/served.ts';
import { snapshotOf } from './publish/support/snapshots.ts';
import { newAuthority } from './support/certificates.ts';

const operating = readFileSync('docs/operating.md', 'utf8');

test('every reason of a problem is documented, with its severity, an example and the way out', () => {
  const rows = tableRows(operating, 'reason').map(([reason, severity, example, remedy]) => {
    expect(example?.length, reason).toBeGreaterThan(20);
    expect(remedy?.length, reason).toBeGreaterThan(10);
    return [reason?.replaceAll('`', ''), severity];
  });
  expect(Object.fromEntries(rows)).toEqual(PROBLEM_REASONS);
  expect(rows.map(([reason]) => reason)).toEqual(Object.keys(PROBLEM_REASONS).sort(compareText));
});

test('every permission that deploy/ grants is documented, and no other', () => {
  const documented = tableRows(readFileSync('docs/security.md', 'utf8'), 'role').map(
    ([role, resource, verbs]) => `${role} ${resource}: ${verbs}`.replaceAll('`', ''),
  );
  expect(documented.sort()).toEqual(grants().sort());
});

describe('by hand', () => {
  let cf: LocalCloudflare;
  beforeAll(async () => {
    cf = await LocalCloudflare.start();
  });
  beforeEach(() => cf.reset());
  afterAll(() => cf?.stop());

  test('going back: the commands of docs/operating.md do what it says', async () => {
    const { history, now, back, unpin, exact } = commands();
    const publisher = cf.publisher({ cluster: 'default' });
    await publisher.claim();
    const versions = [];
    for (const host of ['one', 'two', 'two', 'three']) {
      cf.nowMs += 1000;
      versions.push((await publisher.publish(snapshotOf([host]), [])).version);
    }
    const [first = '', second, , third] = versions;
    expect(await cf.rows(history)).toHaveLength(3);
    expect(await cf.rows(now)).toMatchObject([{ version: third, pinned: 0 }]);

    expect(await cf.rows(back)).toEqual([{ version: second, pinned: 1 }]);
    expect((await servedByD1(cf, 'default'))?.version).toBe(second);
    const blocked = await publisher.publish(snapshotOf(['four']), []);
    expect(blocked.outcome).toBe('pinned');
    expect((await servedByD1(cf, 'default'))?.version).toBe(second);

    expect(await cf.rows(exact.replaceAll('VERSION', first))).toEqual([
      { version: first, pinned: 1 },
    ]);
    expect(await cf.rows(exact)).toEqual([]);
    expect(await cf.rows(back)).toEqual([]);
    expect((await servedByD1(cf, 'default'))?.version).toBe(first);

    expect(await cf.rows(unpin)).toEqual([{ version: first, pinned: 0 }]);
    const restarted = cf.publisher({ cluster: 'default' });
    await restarted.claim();
    const moved = await restarted.publish(snapshotOf(['four']), []);
    expect(moved.outcome).toBe('published');
    expect((await servedByD1(cf, 'default'))?.version).toBe(moved.version);
  });

  test('a wrong certificate: fingerprints can be compared with what openssl says', async () => {
    const publisher = cf.publisher({ cluster: 'default' });
    const { fencingToken } = await publisher.claim();
    const issued = await (await newAuthority()).issue({ names: ['app.example.com'] });
    const { fingerprint, notAfterMs, names, keyType } = certificateIn('app', issued);
    const row: CertificateRow = {
      id: 'row',
      kind: 'server',
      zone: 'zone-1',
      secretNamespace: 'shop',
      secretName: 'app',
      keyType,
      remoteId: 'remote',
      fingerprint,
      names,
      notAfterMs,
      state: 'uploaded',
      idsBefore: [],
      begunAtMs: 0,
      uploadedAtMs: 0,
      unusedSinceMs: 0,
    };
    const ledger = new CertificateLedger(cf.clients().d1, 'default', fencingToken);
    await ledger.write([row, { ...row, id: 'authority', kind: 'authority' }]);
    expect(await cf.rows(commands().certificates)).toEqual([
      {
        names: '["app.example.com"]',
        state: 'uploaded',
        secret: 'shop/app',
        fingerprint: new X509Certificate(issued.leaf).fingerprint256.replaceAll(':', ''),
        until: new Date(notAfterMs).toISOString().slice(0, 19).replace('T', ' '),
        remote_id: 'remote',
      },
    ]);
  });
});

/** The SQL of the document's commands. */
function commands() {
  const found = [
    ...operating.matchAll(/wrangler d1 execute causeway --remote --command "([^"]+)"/g),
  ];
  const [history = '', now = '', back = '', unpin = '', exact = '', certificates = '', ...rest] =
    found.map(([, sql]) => sql);
  expect(rest).toEqual([]);
  return { history, now, back, unpin, exact, certificates };
}

/** The cells of a Markdown table whose first column has this head. */
function tableRows(text: string, head: string): string[][] {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${head} |`));
  const rest = lines.slice(start + 2);
  const rows = rest.slice(
    0,
    rest.findIndex((line) => !line.startsWith('|')),
  );
  return rows.map((line) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '').trim()));
}

interface Role {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly rules: readonly {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly verbs: readonly string[];
  }[];
}

/** A line for each rule of deploy/kustomize. */
function grants(): string[] {
  const dir = 'deploy/kustomize';
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.yaml'))
    .flatMap((file) => parseAllDocuments(readFileSync(join(dir, file), 'utf8')))
    .map((document) => document.toJS() as Role)
    .filter((it) => it.kind === 'ClusterRole' || it.kind === 'Role')
    .flatMap(({ kind, metadata, rules }) =>
      rules.map(({ apiGroups: [group], resources: [resource], verbs }) => {
        const what = group ? `${resource}.${group}` : resource;
        return `${kind} ${metadata.name} ${what}: ${verbs.join(', ')}`;
      }),
    );
}
