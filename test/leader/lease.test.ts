import { KubeConfig } from '@kubernetes/client-node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ApiClient } from '../../syncer/kubernetes/api-client.ts';
import { KubernetesLease, type LeaseSpec } from '../../syncer/lease.ts';
import { EmptyApiServer } from './support/api-server.ts';

let server: EmptyApiServer;
let client: ApiClient;
let lease: KubernetesLease;
const { signal } = new AbortController();
beforeEach(async () => {
  server = await EmptyApiServer.start();
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromString(server.kubeconfig);
  client = new ApiClient(kubeConfig);
  lease = new KubernetesLease(client, 'causeway', 'causeway-test', 5_000);
});
afterEach(async () => {
  client.close();
  await server.close();
});

const SPEC: LeaseSpec = {
  holder: 'pod-1',
  durationMs: 15_000,
  transitions: 7,
  acquiredAtMs: Date.UTC(2026, 10, 22, 10, 0, 0, 120),
  renewedAtMs: Date.UTC(2026, 10, 22, 10, 0, 2),
};

test('is written as Kubernetes has it, and read back the same', async () => {
  expect(await lease.read(signal)).toBeNull();
  expect(await lease.create(SPEC, signal)).toMatchObject(SPEC);
  expect(server.leases.get('causeway-test')?.spec).toEqual({
    holderIdentity: 'pod-1',
    leaseDurationSeconds: 15,
    leaseTransitions: 7,
    acquireTime: '2026-11-22T10:00:00.120000Z',
    renewTime: '2026-11-22T10:00:02.000000Z',
  });
  expect(await lease.read(signal)).toMatchObject(SPEC);
  expect(server.writes.at(-1)?.path).toBe(
    '/apis/coordination.k8s.io/v1/namespaces/causeway/leases',
  );
});

test('whoever is second writes nothing, and is told so', async () => {
  const first = await lease.create(SPEC, signal);
  expect(await lease.create({ ...SPEC, holder: 'pod-2' }, signal)).toBeNull();
  if (!first) throw new Error('not created');
  const second = await lease.replace(first, { ...SPEC, transitions: 8 }, signal);
  expect(second).toMatchObject({ transitions: 8 });
  expect(await lease.replace(first, { ...SPEC, holder: 'pod-2' }, signal)).toBeNull();
  expect(await lease.read(signal)).toMatchObject({ holder: 'pod-1', transitions: 8 });
});

test('a Lease that is gone cannot be replaced', async () => {
  const first = await lease.create(SPEC, signal);
  server.leases.clear();
  if (!first) throw new Error('not created');
  expect(await lease.replace(first, SPEC, signal)).toBeNull();
});

test('labels and annotations of others stay', async () => {
  await lease.create(SPEC, signal);
  const kept = server.leases.get('causeway-test');
  if (!kept) throw new Error('not created');
  const metadata = { ...kept.metadata, labels: { team: 'edge' } };
  server.leases.set('causeway-test', { ...kept, metadata });
  const read = await lease.read(signal);
  if (!read) throw new Error('not there');
  await lease.replace(read, SPEC, signal);
  expect(server.leases.get('causeway-test')?.metadata).toMatchObject({ labels: { team: 'edge' } });
});

test('one that a person made without saying anything', async () => {
  server.leases.set('causeway-test', {
    metadata: { name: 'causeway-test', resourceVersion: '1' },
  } as never);
  expect(await lease.read(signal)).toMatchObject({ holder: '', durationMs: 0, transitions: 0 });
});

test('a refusal is an error, also for a namespace that is not there', async () => {
  server.refuseLeasesWith = 403;
  await expect(lease.read(signal)).rejects.toThrow(/403/);
  await expect(lease.create(SPEC, signal)).rejects.toThrow(/403/);
  server.refuseLeasesWith = 404;
  await expect(lease.create(SPEC, signal)).rejects.toThrow(/404/);
});
