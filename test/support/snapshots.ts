import { comparePathMatches, compareText } from '../../snapshot/precedence.ts';
import type { Endpoint, PathMatch, Snapshot, Upstream, VirtualHost } from '../../snapshot/types.ts';

/** Where a path leads: a port of 127.0.0.1, several, or endpoints. */
export type Backend = number | readonly (number | Endpoint)[];

/**
 * A snapshot from a short form: hostname -> path -> backend. A path is a Prefix, with `=` before it
 * an Exact; `default` is the host's default backend.
 *
 *     { 'a.example': { '/': 30000, '=/x': [30001, 30002] } }
 */
export function snapshotOf(
  hosts: Readonly<Record<string, Readonly<Record<string, Backend>>>>,
): Snapshot {
  const upstreams = new Map<string, Upstream>();
  const virtualHosts = Object.entries(hosts).map(([hostname, paths]): VirtualHost => {
    const routes = [];
    let host: VirtualHost = { hostname, owner: 'test', routes: [] };
    for (const [path, backend] of Object.entries(paths)) {
      const endpoints = endpointsOf(backend);
      const addresses = endpoints.map((it) => `${it.host}:${it.port}`).join('+') || 'none';
      const name = `test/${addresses}/80`;
      upstreams.set(name, { name, dialer: 'socket', endpoints });
      const source = { kind: 'Ingress', namespace: 'test', name: hostname };
      const destination = { upstream: name, source };
      if (path === 'default') host = { ...host, defaultBackend: destination };
      else routes.push({ match: matchOf(path), ...destination });
    }
    return { ...host, routes: routes.sort((a, b) => comparePathMatches(a.match, b.match)) };
  });
  return {
    virtualHosts: virtualHosts.sort((a, b) => compareText(a.hostname, b.hostname)),
    upstreams: [...upstreams.values()].sort((a, b) => compareText(a.name, b.name)),
  };
}

/** What a host says as a whole, and whether all its routes are for https only. */
export type HostSettings = Partial<Omit<VirtualHost, 'hostname' | 'routes' | 'defaultBackend'>> & {
  readonly httpsOnly?: true;
};

/** The snapshot with these settings of some of its hosts. */
export function withSettings(
  snapshot: Snapshot,
  settings: Readonly<Record<string, HostSettings>>,
): Snapshot {
  const virtualHosts = snapshot.virtualHosts.map((host): VirtualHost => {
    const { httpsOnly, ...own } = settings[host.hostname] ?? {};
    const routes = host.routes.map((route) => (httpsOnly ? { ...route, httpsOnly } : route));
    return { ...host, ...own, routes };
  });
  return { ...snapshot, virtualHosts };
}

function endpointsOf(backend: Backend): readonly Endpoint[] {
  const list = typeof backend === 'number' ? [backend] : backend;
  return list.map((it) => (typeof it === 'number' ? { host: '127.0.0.1', port: it } : it));
}

function matchOf(path: string): PathMatch {
  if (path.startsWith('=')) return { type: 'Exact', path: path.slice(1) };
  return { type: 'Prefix', path };
}
