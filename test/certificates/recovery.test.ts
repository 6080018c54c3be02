import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { FaultResponse } from '../../local/workers/cloudflare-api/faults.ts';
import { UNUSED_MS } from '../../syncer/certificates/custom-plan.ts';
import type { WantedHost } from '../../syncer/certificates/wanted.ts';
import type { Authority, Issued } from '../support/certificates.ts';
import { CloudflareEdge, certificateIn, host, newRenewal } from './support/edge.ts';

/** Processes that die, answers that are lost, and certificates that are somebody else's. */

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

/** Who leads dies at its call `k`: that one is answered so, and no later one is done. */
async function dieAt(k: number, respond: FaultResponse, wanted: readonly WantedHost[]) {
  const leader = await edge.lead();
  await edge.cf.clearFaults();
  await edge.cf.inject(
    { match: '.', skip: k, times: 1, respond },
    { match: '.', skip: k, times: 1_000_000, respond: { kind: 'refuse' } },
  );
  await leader.run(wanted).catch(() => {});
  const { length } = await edge.cf.calls();
  await edge.cf.clearFaults();
  return length > k;
}

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
      expect(await dieAt(k, respond, app(first))).toBe(true);
      await (await edge.lead()).run(app(first));
      await checkOne(first);
    }
  });

  test('while it renews', async () => {
    for (let k = 0; k < CALLS; k++) {
      await edge.reset();
      await (await edge.lead()).run(app(first));
      expect(await dieAt(k, respond, app(renewed))).toBe(true);
      expect((await ids()).length).toBe(1);
      await (await edge.lead()).run(app(renewed));
      await checkOne(renewed);
    }
  });

  test('while it renews, and what is wanted is as before', async () => {
    for (let k = 0; k < CALLS; k++) {
      await edge.reset();
      await (await edge.lead()).run(app(first));
      await dieAt(k, respond, app(renewed));
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
      expect(await dieAt(k, respond, [])).toBe(true);
      await (await edge.lead()).run([]);
      expect(await ids()).toEqual([]);
      expect(await edge.rows()).toEqual([]);
    }
  });

  test('while it uploads what nobody wants any more', async () => {
    for (let k = 0; k < CALLS; k++) {
      await edge.reset();
      await dieAt(k, respond, app(first));
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

describe('what is not ours', () => {
  test('is never touched: not taken over, not replaced, not deleted', async () => {
    const others = [await authority.issue({ names: ['www.example.com'] }), first];
    const foreign = await Promise.all(others.map((issued) => edge.upload(issued)));
    const foreignIds = foreign.map(({ id }) => id);
    const leader = await edge.lead();
    await leader.run(app(first));
    expect(await ids()).toHaveLength(3);
    await leader.run(app(renewed));
    await leader.run([]);
    await edge.advance(UNUSED_MS);
    await leader.run([]);
    expect([...(await ids())].sort()).toEqual([...foreignIds].sort());
  });

  test('is not found in place of an upload that never arrived', async () => {
    // The very same certificate, uploaded by hand before: only the time tells them apart.
    const foreign = await edge.upload(first);
    await dieAt(4, { kind: 'refuse' }, app(first));
    expect(await edge.rows()).toMatchObject([{ state: 'creating', remote_id: '' }]);
    const next = await edge.lead();
    await next.run([]);
    await edge.advance(UNUSED_MS);
    await next.run([]);
    expect(await ids()).toEqual([foreign.id]);
  });

  test('is left alone when it cannot be told from ours', async () => {
    await dieAt(4, { kind: 'drop' }, app(first));
    await edge.upload(first);
    expect(await ids()).toHaveLength(2);
    const next = await edge.lead();
    await next.run([]);
    await edge.advance(UNUSED_MS);
    await next.run([]);
    expect(await ids()).toHaveLength(2);
    expect(edge.cf.lines.map(({ message }) => message).join()).toMatch(/none is touched/);
  });

  test('two clusters with one database and one zone keep to their own', async () => {
    const one = await edge.lead({ cluster: 'one' });
    const two = await edge.lead({ cluster: 'two' });
    // Before its upload arrives, and before it looks for it, the other has uploaded the very same.
    await edge.cf.inject({
      match: '^POST .*custom_certificates',
      times: 3,
      respond: { kind: 'refuse' },
    });
    await two.run(app(first));
    await edge.cf.clearFaults();
    await one.run(app(first));
    const [ofOne, ...more] = await ids();
    expect(more).toEqual([]);
    await edge.advance(30_000);
    await two.run(app(first));
    const rows = await edge.rows();
    expect(rows.map((row) => row.cluster).sort()).toEqual(['one', 'two']);
    expect(rows.map((row) => row.remote_id).sort()).toEqual([...(await ids())].sort());
    expect(await ids()).toHaveLength(2);
    await two.run([]);
    await edge.advance(UNUSED_MS);
    await two.run([]);
    expect(await ids()).toEqual([ofOne]);
  });

  test('and neither takes what the other is just uploading', async () => {
    const one = await edge.lead({ cluster: 'one' });
    const two = await edge.lead({ cluster: 'two' });
    const post = '^POST .*custom_certificates';
    await edge.cf.inject({ match: post, times: 3, respond: { kind: 'refuse' } });
    await two.run(app(first));
    await edge.cf.clearFaults();
    // Nor hears what came of its own; both rows wait.
    await edge.cf.inject(
      { match: post, respond: { kind: 'drop' } },
      { match: 'custom_certificates', skip: 1, times: 1_000, respond: { kind: 'refuse' } },
    );
    await one.run(app(first));
    await edge.cf.clearFaults();
    expect((await edge.rows()).map((row) => row.state)).toEqual(['creating', 'creating']);
    await edge.advance(60_000);
    await two.run(app(first));
    expect((await edge.rows()).map((row) => row.state)).toEqual(['creating', 'creating']);
    // After a while nobody waits for the other any more; who it is then cannot be told.
    await edge.advance(10 * 60_000);
    await one.run(app(first));
    await two.run(app(first));
    const rows = await edge.rows();
    expect(rows.map((row) => row.state)).toEqual(['uploaded', 'uploaded']);
    expect(new Set(rows.map((row) => row.remote_id)).size).toBe(2);
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
