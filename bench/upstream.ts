import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Answers at once with a few bytes; a process of its own, so that it does not share our loop. */
const server = createServer((_, response) => {
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': 3 });
  response.end('ok\n');
});
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
