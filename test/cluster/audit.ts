import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { currentEdge } from './edge.ts';

/** What the API server's audit log says of one request (audit.k8s.io/v1 Event). */
export interface AuditEvent {
  readonly verb: string;
  readonly user: { readonly username: string };
  /** Not there for what is no resource, such as API discovery. */
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly responseStatus?: { readonly code: number };
}

/** Requests of service accounts, without bodies. The tests' own and the controllers' are not kept. */
const POLICY = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata', userGroups: ['system:serviceaccounts'] }, { level: 'None' }],
};

/** The flags of an API server that keeps an audit log in `dir`. */
export function auditFlags(dir: string): string[] {
  const policy = join(dir, 'audit-policy.json');
  // JSON is YAML.
  writeFileSync(policy, JSON.stringify(POLICY));
  return [`--audit-policy-file=${policy}`, `--audit-log-path=${join(dir, 'audit.log')}`];
}

/** The requests so far of one service account. A watch is there once it has ended. */
export function auditLog(namespace: string, name: string): AuditEvent[] {
  const text = readFileSync(join(currentEdge().dir, 'cluster', 'audit.log'), 'utf8');
  const username = `system:serviceaccount:${namespace}:${name}`;
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line.includes(username))
    .map((line) => JSON.parse(line) as AuditEvent);
}

/** The Secrets that a service account has asked for, by name and in order, each once. */
export function secretsRead({ namespace, name }: { namespace: string; name: string }): string[] {
  const names = auditLog(namespace, name)
    .filter(({ objectRef }) => objectRef?.resource === 'secrets')
    .map(({ objectRef }) => `${objectRef?.namespace}/${objectRef?.name}`);
  return [...new Set(names)].sort();
}
