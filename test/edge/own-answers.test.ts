import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { valueIn } from '../support/message.ts';
import { type RawRequest, type Rig, send, startRig } from '../support/rig.ts';
import { snapshotOf } from '../support/snapshots.ts';
import { deadPort } from '../support/upstream.ts';

describe('an answer of our own', () => {
  let rig: Rig;

  beforeAll(async () => {
    rig = await startRig();
  });

  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
  });

  /** Before anything was published this must come first. */
  it('is 503 while nothing was published, and says so in the log', async () => {
    const response = await send(rig.front.port);
    expect(response.status).toBe(503);
    const line = await rig.log.line(valueIn(response, 'x-request-id') ?? 'no id');
    expect(JSON.parse(line)).toMatchObject({ reason: 'SnapshotUnavailable', host: 'a.example' });
  });

  describe('once there are routes', () => {
    beforeAll(async () => {
      const dead = await deadPort();
      await rig.publish(
        snapshotOf({
          'a.example': { '/a': dead, '/dead': dead, '/none': [] },
          '*.wild.example': { '/': [] },
          'no-paths.example': {},
        }),
      );
    });

    it.each([
      [404, 'Not Found', { host: 'unknown.example' }],
      [404, 'Not Found', { target: '/unknown' }],
      [404, 'Not Found', { target: '/ab' }],
      [404, 'Not Found', { host: 'no-paths.example' }],
      [404, 'Not Found', { host: 'a.b.wild.example' }],
      [404, 'Not Found', { host: 'wild.example' }],
      [503, 'Service Unavailable', { target: '/none' }],
      [503, 'Service Unavailable', { host: 'x.wild.example' }],
      [502, 'Bad Gateway', { target: '/dead' }],
    ] satisfies [number, string, RawRequest][])(
      'is %i %s for %j',
      async (status, phrase, request) => {
        for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS']) {
          const response = await send(rig.front.port, { ...request, method });
          const id = valueIn(response, 'x-request-id');
          expect(id).toMatch(/^[0-9a-f]{32}$/);
          expect(response.startLine).toBe(`HTTP/1.1 ${status} ${phrase}`);
          expect(String(response.body)).toBe(`${status} ${phrase}\nrequest id: ${id}\n`);
          expect(valueIn(response, 'content-type')).toBe('text/plain; charset=utf-8');
          expect(valueIn(response, 'cache-control')).toBe('no-store');
          expect(valueIn(response, 'x-content-type-options')).toBe('nosniff');
        }
      },
    );

    it('is HTML for browsers', async () => {
      const accept = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
      const response = await send(rig.front.port, { target: '/x', headers: [`Accept: ${accept}`] });
      expect(valueIn(response, 'content-type')).toBe('text/html; charset=utf-8');
      const body = String(response.body);
      expect(body).toMatch(/^<!doctype html>/);
      expect(body).toContain('<title>404 Not Found</title>');
      expect(body).toContain(valueIn(response, 'x-request-id'));
    });

    it.each(['application/json', 'application/problem+json', 'application/json, */*'])(
      'is JSON for those who accept %s',
      async (accept) => {
        const headers = [`Accept: ${accept}`];
        const response = await send(rig.front.port, { target: '/none', headers });
        expect(valueIn(response, 'content-type')).toBe('application/json; charset=utf-8');
        expect(JSON.parse(String(response.body))).toEqual({
          status: 503,
          error: 'Service Unavailable',
          requestId: valueIn(response, 'x-request-id'),
        });
      },
    );

    it.each(['/unknown', '/none', '/dead'])('has no body to HEAD %s', async (target) => {
      const response = await send(rig.front.port, { method: 'HEAD', target });
      expect(response.status).toBeGreaterThanOrEqual(404);
      expect(response.body).toHaveLength(0);
      expect(valueIn(response, 'x-request-id')).toMatch(/^[0-9a-f]{32}$/);
      // Nothing follows the head on the connection either.
      expect(response.framing).toBe('none');
    });

    it('writes nothing of the request back', async () => {
      const mark = 'MARK<script>';
      for (const accept of ['text/html', 'application/json', '*/*']) {
        const response = await send(rig.front.port, {
          host: 'mark.example',
          target: '/MARK?MARK',
          headers: [`Accept: ${accept}, ${mark}`, `X-Request-ID: ${mark}`, `Referer: ${mark}`],
        });
        const everything = `${JSON.stringify(response.headers)}${response.body}`;
        expect(everything).not.toMatch(/mark/i);
      }
    });

    it.each([60_000, 100_000, 5_000_000])(
      'comes also to those who send a body of %i bytes that nobody reads',
      async (length) => {
        const headers = [`Content-Length: ${length}`];
        const body = { method: 'POST', headers, body: 'x'.repeat(length) };
        for (const [target, status] of [
          ['/none', 503],
          ['/dead', 502],
          ['/unknown', 404],
        ] as const) {
          expect((await send(rig.front.port, { ...body, target })).status).toBe(status);
        }
      },
    );

    it('does not wait for a body that does not come', async () => {
      const headers = ['Content-Length: 5000000'];
      const post = { method: 'POST', target: '/unknown', headers };
      expect((await send(rig.front.port, post)).status).toBe(404);
      const begun = { ...post, body: 'x'.repeat(100_000) };
      expect((await send(rig.front.port, begun)).status).toBe(404);
    });
  });
});
