import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { FaultResponse } from '../../local/workers/cloudflare-api/faults.ts';
import { UNUSED_MS } from '../../syncer/certificates/custom-plan.ts';
import type { WantedHost } from '../../syncer/certificates/wanted.ts';
import type { Authority, Issued } from '../support/certificates.ts';
import { CloudflareEdge, certificateIn, host, newRenewal } from './support/edge.ts';

/** Processes that die, and answers that are lost. */

let edge: CloudflareEdge;
let authority: Authority;
let first: Issued;
let renewed: Issued;
const NAMES = ['app.example.com'];

beforeAll(async () => {
  edge = await CloudflareEdge.start();
  ({ authority, first, renewed } = await newRenewal(NAMES));
});
afterAll(() => edge?.cf.stop());
beforeEach(() => edge.reset());

const app = (issued: Issued): readonly WantedHost[] => [
  host('app.example.com', [certificateIn('app', issued)]),
];
const ids = async () => (await edge.uploads()).map(({ id }) => id);

/** One certificate, one row, and the row is the certificate's. */
async function checkOne(issued: Issued): Promise<void> {
  const [uploaded, ...more] = await edge.uploads();
  expect(more).toEqual([]);
  expect(Date.parse(uploaded?.expires_on ?? '')).toBe(certificateIn('app', issued).notAfterMs);
  expect(await edge.rows()).toMatchObject([
    { state: 'uploaded', remote_id: uploaded?.id, fingerprint: issued.fingerprint },
  ]);
}

const DEATHS: readonly FaultResponse[] = [
  { kind: 'refuse' },
  { kind: 'drop' },
  { kind: 'html', status: 200 },
  { kind: 'only', statements: [0] },
  { kind: 'only', statements: [1] },
];
/** Rows, zones, list, row, upload, row. */
const CALLS = 6;

describe.each(DEATHS)('a process that dies by %j', (respond) => {
  test('while it uploads', async () => {
    for (let k = 0; k < CALLS; k++) {
      await edge.reset();
      expect(await edge.dieAt(k, respond, app(first))).toBe(true);
      await (await edge.lead()).run(app(first));
      await checkOne(first);
    }
  });

  test('while it renews', async () => {
    for (let k = 0; k < CALLS; k++) {
      await edge.reset();
      await (await edge.lead()).run(app(first));
      expect(await edge.dieAt(k, respond, app(renewed))).toBe(true);
      expect((await ids()).length).toBe(1);
      await (await edge.lead()).run(app(renewed));
      await checkOne(renewed);
    }
  });

  test('while it renews, and what is wanted is as before', async () => {
    for (let k = 0; k < CALLS; k++) {
      await edge.reset();
      await (await edge.lead()).run(app(first));
      await edge.dieAt(k, respond, app(renewed));
      await (await edge.lead()).run(app(first));
      await checkOne(first);
    }
  });

  test('while it deletes', async () => {
    for (let k = 0; k < CALLS; k++) {
      await edge.reset();
      const leader = await edge.lead();
      await leader.run(app(first));
      await leader.run([]);
      await edge.advance(UNUSED_MS);
      expect(await edge.dieAt(k, respond, [])).toBe(true);
      await (await edge.lead()).run([]);
      expect(await ids()).toEqual([]);
      expect(await edge.rows()).toEqual([]);
    }
  });

  test('while it uploads what nobody wants any more', async () => {
    for (let k = 0; k < CALLS; k++) {
      await edge.reset();
      await edge.dieAt(k, respond, app(first));
      const next = await edge.lead();
      await next.run([]);
      await edge.advance(UNUSED_MS);
      await next.run([]);
      expect(await ids()).toEqual([]);
      expect(await edge.rows()).toEqual([]);
    }
  });
});

test('the runs that die really have as many calls', async () => {
  await (await edge.lead()).run(app(first));
  for (const issued of [renewed, first]) {
    const leader = await edge.lead();
    await edge.cf.clearFaults();
    await leader.run(app(issued));
    expect(await edge.cf.calls()).toHaveLength(CALLS);
  }
});

describe('in one process', () => {
  test.each(['POST', 'PATCH'])('a lost answer to %s is made up for at once', async (method) => {
    const leader = await edge.lead();
    if (method === 'PATCH') await leader.run(app(first));
    await edge.cf.inject({ match: `^${method} .*custom_certificates`, respond: { kind: 'drop' } });
    const wanted = method === 'PATCH' ? renewed : first;
    await leader.run(app(wanted));
    await checkOne(wanted);
    const calls = (await edge.tlsCalls()).filter((it) => it.startsWith(method));
    expect(calls).toHaveLength(1);
  });

  test('429 is waited for, and nothing is uploaded twice', async () => {
    const respond = { kind: 'status', status: 429, retryAfter: '60' } as const;
    await edge.cf.inject({ match: '^POST .*custom_certificates', respond });
    await (await edge.lead()).run(app(first));
    await checkOne(first);
  });

  test('two lost answers for the same names are told apart: one is done before the next', async () => {
    const notAfter = new Date(Date.now() + 50 * 86_400_000);
    const rsa = await authority.issue({ names: NAMES, keyType: 'rsa', notAfter });
    const ecdsa = await authority.issue({ names: NAMES, notAfter });
    await edge.cf.inject({
      match: '^POST .*custom_certificates',
      times: 2,
      respond: { kind: 'drop' },
    });
    const both = [certificateIn('rsa', rsa), certificateIn('ecdsa', ecdsa)];
    await (await edge.lead()).run([host('app.example.com', both)]);
    expect(await ids()).toHaveLength(2);
    const rows = await edge.rows();
    expect(rows.map((row) => row.remote_id).sort()).toEqual([...(await ids())].sort());
    expect(rows.map((row) => row.state)).toEqual(['uploaded', 'uploaded']);
  });

  test('one that Cloudflare never answers for holds up none of the others', async () => {
    const names = ['a', 'b', 'c'].map((it) => `${it}.example.com`);
    const issue = () =>
      Promise.all(
        names.map(async (name) => {
          const issued = await authority.issue({ names: [name] });
          return host(name, [certificateIn(name, issued)]);
        }),
      );
    const leader = await edge.lead();
    await leader.run(await issue());
    const before = await edge.uploads();
    const ofA = before.find(({ hosts }) => hosts.includes('a.example.com'))?.id ?? '';
    const respond = { kind: 'status', status: 500 } as const;
    await edge.cf.inject({ match: `^PATCH .*/${ofA}$`, times: 1_000, respond });
    await leader.run(await issue());
    const kept = new Set(before.map(({ id }) => id));
    const old = (await edge.uploads()).filter(({ id }) => kept.has(id));
    expect(old.map(({ hosts }) => hosts)).toEqual([['a.example.com']]);
  });

  test('what fails for long is tried again, less and less often', async () => {
    await edge.cf.inject({
      match: 'custom_certificates',
      times: 1_000,
      respond: { kind: 'status', status: 503 },
    });
    const leader = await edge.lead();
    await leader.run(app(first));
    const { length } = await edge.tlsCalls();
    await edge.advance(29_000);
    await leader.run(app(first));
    expect(await edge.tlsCalls()).toHaveLength(length);
    await edge.cf.clearFaults();
    await edge.advance(1_000);
    await leader.run(app(first));
    await checkOne(first);
  });
});

describe('a deposed leader', () => {
  test('changes nothing at Cloudflare and nothing in D1', async () => {
    const old = await edge.lead();
    await old.run(app(first));
    const before = await edge.rows();
    await edge.lead();
    await edge.cf.clearFaults();
    await expect(old.run(app(renewed))).rejects.toThrow(/fencing token/);
    await expect(old.run([])).rejects.toThrow(/fencing token/);
    expect(await edge.rows()).toEqual(before);
    const writes = (await edge.tlsCalls()).filter((it) => !it.startsWith('GET'));
    expect(writes).toEqual([]);
  });

  test('whose term is over makes no call', async () => {
    let isOver = false;
    const over = new Error('the term is over');
    const permit = () => {
      if (isOver) throw over;
    };
    const leader = await edge.lead({ permit });
    await leader.run(app(first));
    isOver = true;
    await edge.cf.clearFaults();
    await leader.run(app(renewed)).catch(() => {});
    expect(await edge.cf.calls()).toEqual([]);
  });

  test('that is overtaken between its row and its upload leaves what the next one mends', async () => {
    let calls = 0;
    const old = await edge.lead({
      permit: () => {
        if (++calls > 5) throw new Error('the term is over');
      },
    });
    await old.run(app(first)).catch(() => {});
    await (await edge.lead()).run(app(first));
    await checkOne(first);
  });
});

test('a database without the table says what to do, and hurts nothing', async () => {
  await edge.cf.db.prepare('ALTER TABLE certificates RENAME TO away').run();
  try {
    expect(await (await edge.lead()).run(app(first))).toEqual([]);
    const [line] = edge.cf.lines.filter(({ level }) => level === 'warn');
    expect(JSON.stringify(line)).toMatch(/wrangler d1 migrations apply/);
  } finally {
    await edge.cf.db.prepare('ALTER TABLE away RENAME TO certificates').run();
  }
});
