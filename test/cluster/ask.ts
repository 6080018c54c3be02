import { type IncomingHttpHeaders, request } from 'node:http';
import { request as requestOverTls } from 'node:https';
import { text } from 'node:stream/consumers';
import type { EchoAnswer } from './echo-server.ts';

export interface Question {
  host: string;
  /** Goes out as it is. Default `/`. */
  path?: string;
  method?: string;
  headers?: Record<string, string>;
  /** A string goes out with its length; a list chunked, its elements one after the other. */
  body?: string | readonly string[];
  /** PEM of the only authority that is trusted: the question goes over TLS, with `host` as SNI's name. */
  ca?: string;
  /** PEM: what the client shows of itself. */
  client?: { readonly cert: string; readonly key: string };
  /** Default 20 000. */
  timeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** What an echo server says it was asked; `null` when the answer is the edge's own. */
  readonly echo: EchoAnswer | null;
  /** `namespace/service` of the echo server, or `edge`. */
  readonly from: string;
}

const TIMEOUT_MS = 20_000;

/** One request on a connection of its own. Rejects when there is no whole answer in time. */
export async function ask(port: number, question: Question): Promise<Answer> {
  const { host, path = '/', body, ca, client, timeoutMs = TIMEOUT_MS } = question;
  const method = question.method ?? (body === undefined ? 'GET' : 'POST');
  const headers: Record<string, string | number> = { host, ...question.headers };
  if (typeof body === 'string') headers['content-length'] = Buffer.byteLength(body);
  const options = { host: '127.0.0.1', port, path, method, headers, agent: false };
  const response = await new Promise<Parameters<typeof text>[0] & Head>((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const take = (it: unknown) => resolve(it as Parameters<typeof text>[0] & Head);
    const sent =
      ca === undefined
        ? request({ ...options, signal }, take)
        : requestOverTls(
            { ...options, signal, ca, ...client, servername: host.replace(/:\d+$/, '') },
            take,
          );
    sent.once('error', reject);
    if (typeof body === 'object') for (const chunk of body) sent.write(chunk);
    sent.end(typeof body === 'string' ? body : undefined);
  });
  const content = await text(response);
  const echo = echoOf(response.headers, content);
  const from = echo ? `${echo.namespace}/${echo.service}` : 'edge';
  return { status: response.statusCode, headers: response.headers, text: content, echo, from };
}

/** As `200 default/web` or `503 edge`: what most tests want to know of an answer. */
export async function verdict(port: number, question: Question): Promise<string> {
  const { status, from } = await ask(port, question);
  return `${status} ${from}`;
}

interface Head {
  statusCode: number;
  headers: IncomingHttpHeaders;
}

function echoOf(headers: IncomingHttpHeaders, content: string): EchoAnswer | null {
  if (headers['content-type'] !== 'application/json' || content === '') return null;
  const parsed = JSON.parse(content) as Partial<EchoAnswer>;
  return parsed.pod === undefined ? null : (parsed as EchoAnswer);
}
