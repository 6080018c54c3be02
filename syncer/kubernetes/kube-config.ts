import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import * as v from 'valibot';
import { parse } from 'yaml';

const tokenFiles = v.object({
  users: v.nullish(
    v.array(v.object({ user: v.nullish(v.object({ tokenFile: v.nullish(v.string()) })) })),
    [],
  ),
});

/**
 * The credentials in a kubeconfig file, or without one those that Kubernetes puts into a pod.
 * Throws with the way out.
 */
export function loadKubeConfig(
  file: string | null,
  env: Readonly<Record<string, string | undefined>> = process.env,
): KubeConfig {
  const kubeConfig = new KubeConfig();
  if (file === null) {
    if (!env.KUBERNETES_SERVICE_HOST) {
      throw new Error('not inside a cluster (no KUBERNETES_SERVICE_HOST): give --kubeconfig FILE');
    }
    kubeConfig.loadFromCluster();
    return kubeConfig;
  }
  kubeConfig.loadFromFile(file);
  if (!kubeConfig.getCurrentCluster()) {
    throw new Error(`${file}: current-context "${kubeConfig.currentContext}" has no cluster`);
  }
  readTokenFiles(kubeConfig, file);
  return kubeConfig;
}

/** client-node ignores `tokenFile` of a kubeconfig; its in-cluster way reads one that rotates. */
function readTokenFiles(kubeConfig: KubeConfig, file: string): void {
  const { users } = v.parse(tokenFiles, parse(readFileSync(file, 'utf8')));
  kubeConfig.users = kubeConfig.users.map((user, index) => {
    const tokenFile = users[index]?.user?.tokenFile;
    if (!tokenFile) return user;
    const config = { tokenFile: resolve(dirname(file), tokenFile) };
    const { token: _, ...rest } = user;
    return { ...rest, authProvider: { name: 'tokenFile', config } };
  });
}
