import type { Problem, Snapshot } from '../../snapshot/types.ts';
import { ask } from './ask.ts';
import { waitFor } from './wait.ts';

/** What the admin API of an edge says, all of one version. */
export class AdminView {
  readonly version: string | null;
  readonly problems: readonly string[];
  readonly #snapshot: Snapshot;

  constructor(version: string | null, snapshot: Snapshot, problems: readonly string[]) {
    this.version = version;
    this.problems = problems;
    this.#snapshot = snapshot;
  }

  /** The upstream of the route with this very host and path, e.g. `default/web/80`. */
  upstream(host: string, path = '/'): string | undefined {
    const virtualHost = this.#snapshot.virtualHosts.find(({ hostname }) => hostname === host);
    return virtualHost?.routes.find(({ match }) => match.path === path)?.upstream;
  }

  /** `address:port` of all endpoints of an upstream; none when there is no such upstream either. */
  endpoints(upstream: string): readonly string[] {
    const found = this.#snapshot.upstreams.find(({ name }) => name === upstream);
    return (found?.endpoints ?? []).map(({ host, port }) => `${host}:${port}`);
  }

  /** The hostnames that are served. */
  get hosts(): readonly string[] {
    return this.#snapshot.virtualHosts.map(({ hostname }) => hostname);
  }

  /** Whether there is this problem: `Reason Kind namespace/name`. */
  hasProblem(problem: string): boolean {
    return this.problems.some((each) => each.startsWith(`${problem}: `));
  }

  toJSON(): unknown {
    return { version: this.version, ...this.#snapshot, problems: this.problems };
  }
}

/**
 * Asks the edge for what it serves. Throws in the middle of a publication: all routes are of one version.
 * The problems are of that version or of one before it, since they are written last.
 */
async function adminView(port: number, token: string): Promise<AdminView> {
  const { problems } = await get<{ problems: ProblemRow[] }>('/api/problems', port, token);
  const routes = await get<Snapshot & { version: string | null }>('/api/routes', port, token);
  // The edge looks for a newer version before it answers, and then serves that.
  const version = await servedVersion(port, token);
  if (version !== routes.version) throw new Error('a publication is under way');
  const texts = problems.map(
    ({ kind, namespace, name, reason, message }) =>
      `${reason} ${kind} ${namespace ? `${namespace}/` : ''}${name}: ${message}`,
  );
  return new AdminView(version, routes, texts);
}

/**
 * Waits until the edge serves what `isThere` describes. From then on one request is enough to see it:
 * the edge has been asked for its version after it was published.
 */
export async function untilServed(
  port: number,
  token: string,
  what: string,
  isThere: (view: AdminView) => boolean,
): Promise<AdminView> {
  try {
    return await waitFor(`the edge to serve ${what}`, async () => {
      const view = await adminView(port, token);
      return isThere(view) ? view : null;
    });
  } catch (error) {
    const view = await adminView(port, token).catch(String);
    throw new Error(`${error}\nThe edge: ${JSON.stringify(view)}`);
  }
}

/** The version that the edge serves, which is the newest: it looks for that before it answers. */
export async function servedVersion(port: number, token: string): Promise<string | null> {
  return (await get<{ version: string | null }>('/api/version', port, token)).version;
}

type ProblemRow = Problem['object'] & Omit<Problem, 'object'>;

async function get<T>(path: string, port: number, token: string): Promise<T> {
  const headers = { authorization: `Bearer ${token}` };
  const { status, text } = await ask(port, { host: 'admin.localhost', path, headers });
  if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
  return JSON.parse(text) as T;
}
