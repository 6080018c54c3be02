import { connect, type Socket } from 'node:net';

export interface Load {
  readonly url: URL;
  /** Absolute-form target and the `Host` that goes with it. */
  readonly target: string;
  readonly connections: number;
  readonly requests: number;
}

/** Sends `requests` over keep-alive connections, one at a time on each; returns requests per second. */
export async function requestsPerSecond(load: Load): Promise<number> {
  let left = load.requests;
  const take = () => left-- > 0;
  const started = performance.now();
  await Promise.all(Array.from({ length: load.connections }, () => client(load, take)));
  return load.requests / ((performance.now() - started) / 1000);
}

function client({ url, target }: Load, take: () => boolean): Promise<void> {
  const { host } = new URL(target);
  const message = `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(Number(url.port), url.hostname);
    let answer = '';
    const next = () => {
      if (take()) socket.write(message);
      else socket.end(() => resolve());
    };
    socket.setNoDelay(true).setEncoding('latin1');
    socket.on('connect', next);
    socket.on('error', reject);
    socket.on('data', (chunk: string) => {
      answer += chunk;
      if (!isWhole(answer)) return;
      if (!answer.startsWith('HTTP/1.1 200')) {
        reject(new Error(answer));
        socket.destroy();
        return;
      }
      answer = '';
      next();
    });
  });
}

function isWhole(answer: string): boolean {
  const end = answer.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const length = /\r\ncontent-length: (\d+)/i.exec(answer.slice(0, end));
  return length ? answer.length >= end + 4 + Number(length[1]) : answer.endsWith('0\r\n\r\n');
}
