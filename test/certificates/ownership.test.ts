import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { UNUSED_MS } from '../../syncer/certificates/custom-plan.ts';
import type { WantedHost } from '../../syncer/certificates/wanted.ts';
import type { Authority, Issued } from '../support/certificates.ts';
import { CloudflareEdge, certificateIn, host, newRenewal } from './support/edge.ts';

/** Certificates that are somebody else's: a person's, or another cluster's. */

let edge: CloudflareEdge;
let authority: Authority;
let first: Issued;
let renewed: Issued;

beforeAll(async () => {
  edge = await CloudflareEdge.start();
  ({ authority, first, renewed } = await newRenewal(['app.example.com']));
});
afterAll(() => edge?.cf.stop());
beforeEach(() => edge.reset());

const app = (issued: Issued): readonly WantedHost[] => [
  host('app.example.com', [certificateIn('app', issued)]),
];
const ids = async () => (await edge.uploads()).map(({ id }) => id);

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
    await edge.dieAt(4, { kind: 'refuse' }, app(first));
    expect(await edge.rows()).toMatchObject([{ state: 'creating', remote_id: '' }]);
    const next = await edge.lead();
    await next.run([]);
    await edge.advance(UNUSED_MS);
    await next.run([]);
    expect(await ids()).toEqual([foreign.id]);
  });

  test('is left alone when it cannot be told from ours', async () => {
    await edge.dieAt(4, { kind: 'drop' }, app(first));
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
