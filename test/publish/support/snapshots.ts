import type { Problem, Route, Snapshot, Upstream, VirtualHost } from '../../../snapshot/types.ts';

/** A snapshot that serves `hosts`, all from one upstream each, at `port`. */
export function snapshotOf(hosts: readonly string[], port = 30_080): Snapshot {
  const names = [...new Set(hosts)].sort();
  return {
    virtualHosts: names.map((hostname) => virtualHost(hostname, ['/'])),
    upstreams: names.map((hostname) => upstream(hostname, port)),
  };
}

/** Hosts of as many domains, with so many routes each: several shards. */
export function bigSnapshot(domains: number, routes: number): Snapshot {
  const names = Array.from({ length: domains }, (_, i) => `www.domain-${i}.example`).sort();
  const paths = Array.from({ length: routes }, (_, i) => `/path/number-${i + 100}`).sort();
  return {
    virtualHosts: names.map((hostname) => virtualHost(hostname, paths)),
    upstreams: names.map((hostname) => upstream(hostname, 30_080)),
  };
}

export function problemsOf(count: number, text = 'no such Service'): readonly Problem[] {
  return Array.from({ length: count }, (_, i) => ({
    object: { kind: 'Ingress', namespace: `team-${i % 7}`, name: `web-${i}` },
    reason: 'ServiceNotFound',
    message: `${text}: "web-${i}" ${'x'.repeat(300)} äöü € 😀`,
  }));
}

function virtualHost(hostname: string, paths: readonly string[]): VirtualHost {
  const routes = paths.map((path): Route => {
    const source = { kind: 'Ingress', namespace: 'default', name: hostname };
    return { match: { type: 'Prefix', path }, upstream: `default/${hostname}/80`, source };
  });
  return { hostname, owner: 'default', routes };
}

function upstream(hostname: string, port: number): Upstream {
  const endpoints = [{ host: '192.0.2.1', port }];
  return { name: `default/${hostname}/80`, dialer: 'socket', endpoints };
}
