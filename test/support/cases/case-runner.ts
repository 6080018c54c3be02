import { compile } from '../../../syncer/compile.ts';
import { type RawRequest, type Rig, send, startRig } from '../rig.ts';
import type { CaseRequest, SharedCase } from './case-file.ts';
import { CaseObjects } from './case-objects.ts';
import { compileOptionsOf } from './case-options.ts';
import { mistakesOf, type Outcome } from './expectations.ts';
import { answerOf, IdentityServers } from './identity-servers.ts';

/** What came of a case: nothing wrong, or each thing that is. */
export type Verdict = readonly string[];

/** Runs shared cases one after the other in one workerd: each is one publication. */
export class CaseRunner implements AsyncDisposable {
  readonly #rig: Rig;
  readonly #servers = new IdentityServers();

  static async start(): Promise<CaseRunner> {
    return new CaseRunner(await startRig({ httpsPort: 443 }));
  }

  private constructor(rig: Rig) {
    this.#rig = rig;
  }

  async run({ objects, config, stubs, cookieJar, requests }: SharedCase): Promise<Verdict> {
    const options = compileOptionsOf(config);
    if (!options) return [`config ${JSON.stringify(config)} is not implemented`];
    if (stubs.length > 0 || cookieJar) return ['stubs and cookie jars are not implemented'];
    const world = new CaseObjects(objects);
    const ports = await this.#servers.ports(world.nodePorts.map((it) => it.backend));
    for (const [index, port] of ports.entries()) world.nodePorts[index]?.assign(port);
    const { snapshot, problems } = compile(world.state('127.0.0.1'), options);
    await this.#rig.publish(snapshot, problems);
    const verdict: string[] = [];
    for (const request of requests) {
      const outcomes: Outcome[] = [];
      for (let i = 0; i < request.repeat; i++) outcomes.push(await this.#ask(request));
      const { method, scheme, host, path } = request;
      const mistakes = mistakesOf(request, outcomes);
      verdict.push(...mistakes.map((it) => `${method} ${scheme}://${host}${path}: ${it}`));
    }
    return verdict;
  }

  async #ask(request: CaseRequest): Promise<Outcome> {
    const { backendResponse, backendDelayMs: delayMs } = request;
    this.#servers.answer = answerOf({ ...backendResponse, delayMs });
    this.#servers.take();
    // To the worker's own socket, which takes the scheme from the target, as from a TLS front.
    const response = await send(this.#rig.edge.worker.port, rawRequest(request));
    return { response, seen: this.#servers.take() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rig[Symbol.asyncDispose]();
    await this.#servers[Symbol.asyncDispose]();
  }
}

function rawRequest(request: CaseRequest): RawRequest {
  const { method, scheme, host, path, clientIP, cookies } = request;
  const body = request.body ?? (request.bodyBytes ? 'x'.repeat(request.bodyBytes) : undefined);
  const cookie = Object.entries(cookies).map(([name, value]) => `${name}=${value}`);
  const needsLength = body !== undefined || method === 'POST' || method === 'PUT';
  return {
    method,
    target: `${scheme}://${host}${path}`,
    host,
    headers: [
      ...Object.entries(request.headers).map(([name, value]) => `${name}: ${value}`),
      ...(cookie.length > 0 ? [`Cookie: ${cookie.join('; ')}`] : []),
      ...(needsLength ? [`Content-Length: ${Buffer.byteLength(body ?? '')}`] : []),
      `CF-Connecting-IP: ${clientIP}`,
    ],
    ...(body !== undefined && { body }),
  };
}
