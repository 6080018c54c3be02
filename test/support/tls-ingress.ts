import { clusterState } from '../../syncer/cluster-state.ts';
import { DEFAULTS } from '../../syncer/compile/options.ts';
import { compileAt, type TimedCompilation } from '../../syncer/compile/validity.ts';
import { decodeObject } from '../../syncer/kubernetes/decode.ts';

export interface Asking {
  readonly namespace?: string;
  readonly name?: string;
  readonly hosts?: readonly string[];
  readonly tls: readonly { readonly hosts?: readonly string[]; readonly secretName?: string }[];
  readonly day?: number;
}

/** An Ingress with a rule for each host; `day` is when it was created. */
export function tlsIngress({
  namespace = 'shop',
  name = 'web',
  hosts = ['a.example'],
  tls,
  day = 1,
}: Asking) {
  const backend = { service: { name: 'web', port: { number: 80 } } };
  const paths = [{ path: '/', pathType: 'Prefix', backend }];
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: {
      namespace,
      name,
      creationTimestamp: `2026-01-${String(day).padStart(2, '0')}T00:00:00Z`,
    },
    spec: {
      ingressClassName: 'causeway',
      rules: hosts.map((host) => ({ ...(host !== '*' && { host }), http: { paths } })),
      tls,
    },
  };
}

export function compiledAt(nowMs: number, objects: readonly object[]): TimedCompilation {
  const decoded = objects.map(decodeObject);
  const state = clusterState(decoded.flatMap((it) => (it.ok ? it.objects : [])));
  return compileAt(state, DEFAULTS, nowMs);
}
