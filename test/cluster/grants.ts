import type { AuditEvent } from './audit.ts';
import { type Cluster, waitFor } from './cluster.ts';
import { ACCOUNT } from './deploy.ts';
import type { Manifest } from './manifests.ts';

/** One rule of a role. */
export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

/** A ClusterRole or Role. */
export interface RoleManifest extends Manifest {
  readonly rules: readonly Rule[];
}

export function isRole(manifest: Manifest): manifest is RoleManifest {
  return manifest.kind === 'ClusterRole' || manifest.kind === 'Role';
}

/** As `list ingresses.networking.k8s.io` and `patch ingresses/status.networking.k8s.io`. */
export function grantsOf({ apiGroups, resources, verbs }: Rule): string[] {
  return apiGroups.flatMap((group) =>
    resources.flatMap((resource) => verbs.map((verb) => grant(verb, group, resource))),
  );
}

/** What a request takes. */
export function grantUsed({ verb, objectRef }: AuditEvent): string {
  const { apiGroup = '', resource = '', subresource } = objectRef ?? {};
  return grant(verb, apiGroup, subresource ? `${resource}/${subresource}` : resource);
}

export function wasAllowed({ responseStatus }: AuditEvent): boolean {
  return responseStatus?.code !== 403;
}

function grant(verb: string, group: string, resource: string): string {
  return `${verb} ${resource}${group && `.${group}`}`;
}

/** The authorizer learns of a changed role by a watch of its own. */
export async function untilAllowed(cluster: Cluster, rule: Rule, allowed: boolean): Promise<void> {
  const { namespace, name } = ACCOUNT;
  const [resource, subresource] = rule.resources[0]?.split('/') ?? [];
  const resourceAttributes = {
    namespace,
    verb: rule.verbs[0],
    group: rule.apiGroups[0],
    resource,
    subresource,
    name: rule.resourceNames?.[0],
  };
  const review = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: { user: `system:serviceaccount:${namespace}:${name}`, resourceAttributes },
  };
  await waitFor('the authorizer to know', async () => {
    const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
    const { status } = await cluster.api.post<{ status: { allowed: boolean } }>(path, review);
    return status.allowed === allowed;
  });
}
