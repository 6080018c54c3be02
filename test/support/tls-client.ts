import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import type { ClientMessage } from './message.ts';
import { type RawRequest, sendOn } from './rig.ts';
import { Wire } from './wire.ts';

/** A connection on which the handshake was done. Trusts everybody unless told otherwise. */
export async function handshake(
  port: number,
  servername: string,
  options: ConnectionOptions = {},
): Promise<TLSSocket> {
  const own = { rejectUnauthorized: options.ca !== undefined, ...options };
  const socket = connect({ port, host: '127.0.0.1', ...(servername && { servername }), ...own });
  await once(socket, 'secureConnect');
  return socket;
}

/** The SHA-256 of the certificate that a client is shown, lower-case hexadecimal. */
export async function shownTo(
  port: number,
  servername: string,
  options: ConnectionOptions = {},
): Promise<string> {
  const socket = await handshake(port, servername, options);
  const fingerprint = socket.getPeerX509Certificate()?.fingerprint256 ?? '';
  socket.destroy();
  return fingerprint.replaceAll(':', '').toLowerCase();
}

/** Sends a request's bytes over TLS and reads the answer's. The server name is that of the host. */
export async function sendTls(
  port: number,
  request: RawRequest = {},
  options: ConnectionOptions = {},
): Promise<ClientMessage> {
  const { host = 'a.example' } = request;
  const socket = await handshake(port, host.replace(/:\d+$/, ''), options);
  return sendOn(new Wire(socket), request);
}

/** Runs a program to its end, whatever that is, with this as its input. */
export function command(
  program: string,
  args: readonly string[],
  input = '',
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(program, args, { maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
    child.stdin?.end(input);
  });
}

/** What `openssl s_client` says of a handshake with this server name. */
export async function opensslClient(
  port: number,
  servername: string,
  ...args: readonly string[]
): Promise<string> {
  const target = ['-connect', `127.0.0.1:${port}`, '-servername', servername];
  const { stdout, stderr } = await command('openssl', ['s_client', ...target, ...args], 'Q\n');
  return stdout + stderr;
}
