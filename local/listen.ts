import type { AddressInfo, Server } from 'node:net';

export interface ListenAddress {
  readonly host: string;
  /** 0 for a free one. */
  readonly port: number;
  /** The flag that chooses the port. */
  readonly flag: string;
}

/**
 * Resolves with the port once the server accepts connections.
 * @throws Error that says what to do, where the port is taken or privileged
 */
export function listen(server: Server, { host, port, flag }: ListenAddress): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => {
      const what = CAUSES[error.code ?? '']?.(`port ${port} of ${host}`);
      reject(what === undefined ? error : new Error(`${what} with ${flag}`));
    };
    server.once('error', fail);
    server.listen(port, host, () => {
      server.off('error', fail);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** The two that everybody meets. */
const CAUSES: Readonly<Record<string, (what: string) => string>> = {
  EADDRINUSE: (what) => `${what} is already in use; choose another`,
  EACCES: (what) => `${what} needs more rights than we have; choose one`,
};
