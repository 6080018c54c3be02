/**
 * The program in a solver's pod: what cert-manager's `acmesolver` answers, and nothing more. It knows one
 * host and one token; everything else is 404, so that an answer proves that a request came to the right
 * pod with its Host and its path as they were.
 *
 *     node acme-solver.ts --listen-port=8089 --domain=HOST --token=TOKEN --key=KEY
 *
 * SOLVER_ADDRESS is the pod's address: pods of a node share its network namespace here.
 */
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: { 'listen-port': text, domain: text, token: text, key: text },
});
const path = `/.well-known/acme-challenge/${values.token}`;

createServer((request, response) => {
  const host = request.headers.host?.replace(/:\d+$/, '');
  const isHealthCheck = request.url === '/' || request.url === '/healthz';
  const isMeant = host === values.domain && request.url === path;
  response.setHeader('cache-control', 'no-cache, no-store, must-revalidate');
  response.statusCode = isMeant || isHealthCheck ? 200 : 404;
  response.end(isMeant ? values.key : '');
}).listen(Number(values['listen-port']), process.env.SOLVER_ADDRESS);
