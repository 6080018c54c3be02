import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeObject } from '../../syncer/kubernetes/decode.ts';

const KINDS = [
  ['networking.k8s.io/v1', 'Ingress'],
  ['networking.k8s.io/v1beta1', 'Ingress'],
  ['extensions/v1beta1', 'Ingress'],
  ['networking.k8s.io/v1', 'IngressClass'],
  ['v1', 'Service'],
  ['discovery.k8s.io/v1', 'EndpointSlice'],
  ['v1', 'Endpoints'],
  ['v1', 'Node'],
  ['v1', 'Secret'],
  ['v1', 'ConfigMap'],
  ['v1', 'Namespace'],
] as const;

function object(apiVersion: string, kind: string, rest: object = {}) {
  const decoded = decodeObject({ apiVersion, kind, metadata: { name: 'web' }, ...rest });
  return decoded.ok ? decoded.objects[0] : decoded.problem.message;
}

describe('what is not ours', () => {
  test.each([
    'constructor',
    '__proto__',
    'prototype',
    'toString',
    'valueOf',
    'hasOwnProperty',
    '',
    'ingress',
  ])('kind %j gives no objects', (kind) => {
    expect(decodeObject({ apiVersion: 'v1', kind })).toEqual({ ok: true, objects: [] });
    expect(decodeObject({ apiVersion: 'constructor/v1', kind })).toEqual({ ok: true, objects: [] });
  });

  test.each([
    ['serving.knative.dev/v1', 'Service'],
    ['v1', 'Ingress'],
    ['networking.k8s.io/v1', 'Service'],
    ['longhorn.io/v1beta2', 'Node'],
    ['gateway.example/v1', 'Ingress'],
  ])('%s %s is another kind of the same name', (apiVersion, kind) => {
    expect(decodeObject({ apiVersion, kind, spec: 1 })).toEqual({ ok: true, objects: [] });
  });
});

describe('what is no object of its kind', () => {
  test.each([
    [null, 'the document must be an object, not null'],
    ['hunter2', 'the document must be an object'],
    [[], 'apiVersion is missing'],
    [{ apiVersion: 'v1' }, 'kind is missing'],
    [{ apiVersion: 'v1', kind: 'Service' }, 'metadata is missing'],
    [{ apiVersion: 'v1', kind: 'Service', metadata: {} }, 'metadata.name is missing'],
    [{ apiVersion: 'v1', kind: 'Service', metadata: { name: '' } }, 'metadata.name is empty'],
  ])('%j is a problem that says what', (raw, message) => {
    expect(decodeObject(raw)).toMatchObject({
      ok: false,
      problem: { object: { name: '(no name)' }, reason: 'InvalidObject', message },
    });
  });

  test('a problem names the object as other problems do', () => {
    const raw = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1', namespace: 'odd' } };
    expect(decodeObject({ ...raw, status: 1 })).toMatchObject({
      problem: { object: { kind: 'Node', namespace: '', name: 'n1' } },
    });
    expect(decodeObject({ ...raw, kind: 'Service', spec: 1 })).toMatchObject({
      problem: { object: { kind: 'Service', namespace: 'odd', name: 'n1' } },
    });
  });

  test('no problem of a Secret quotes it', () => {
    const anything = fc.anything({
      maxDepth: 2,
      values: [fc.constant('hunter2'), fc.constant(8675309)],
    });
    const secret = fc.record(
      { data: anything, stringData: anything, type: anything, metadata: anything },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(secret, (fields) => {
        const decoded = decodeObject({ apiVersion: 'v1', kind: 'Secret', ...fields });
        const message = decoded.ok ? '' : decoded.problem.message;
        expect(message).not.toMatch(/hunter2|8675309/);
      }),
    );
  });

  test.each(KINDS)('nothing in a %s %s throws', (apiVersion, kind) => {
    const name = fc.constant({ name: 'web', namespace: 'shop' });
    const fields = fc.record({
      metadata: fc.oneof({ weight: 4, arbitrary: name }, { weight: 1, arbitrary: fc.anything() }),
      spec: fc.oneof(
        fc.anything(),
        fc.record({ rules: fc.anything(), ports: fc.anything(), defaultBackend: fc.anything() }),
      ),
      status: fc.anything(),
      subsets: fc.anything(),
      endpoints: fc.anything(),
      data: fc.anything(),
    });
    fc.assert(
      fc.property(fields, (rest) => {
        const decoded = decodeObject({ apiVersion, kind, ...rest });
        expect(decoded.ok || decoded.problem.reason === 'InvalidObject').toBe(true);
      }),
    );
  });
});

describe('what is left out means what the API says', () => {
  test('a namespace is "default", and none for a kind that has none', () => {
    expect(object('v1', 'Service')).toMatchObject({ namespace: 'default' });
    expect(object('v1', 'Service', { metadata: { name: 'a', namespace: '' } })).toMatchObject({
      namespace: 'default',
    });
    const metadata = { name: 'a', namespace: 'odd' };
    expect(object('v1', 'Node', { metadata })).toMatchObject({ namespace: '' });
    expect(object('networking.k8s.io/v1', 'IngressClass', { metadata })).toMatchObject({
      namespace: '',
    });
  });

  test.each([
    ['2024-01-01T00:00:00Z', 1_704_067_200_000],
    [new Date(1_704_067_200_000), 1_704_067_200_000],
    [null, Number.POSITIVE_INFINITY],
    ['soon', Number.POSITIVE_INFINITY],
  ])('creationTimestamp %s', (creationTimestamp, createdAtMs) => {
    const metadata = { name: 'a', creationTimestamp };
    expect(object('v1', 'Service', { metadata })).toMatchObject({ createdAtMs });
  });

  test.each([
    [{}, { ready: true, serving: true, terminating: false }],
    [
      { ready: null, serving: null },
      { ready: true, serving: true, terminating: false },
    ],
    [{ ready: false }, { ready: false, serving: false, terminating: false }],
    [
      { ready: false, terminating: true },
      { ready: false, serving: false, terminating: true },
    ],
    [{ serving: false }, { ready: true, serving: false, terminating: false }],
  ])('endpoint conditions %j', (conditions, endpoint) => {
    const endpoints = [{ addresses: ['10.0.0.1'], conditions }];
    expect(object('discovery.k8s.io/v1', 'EndpointSlice', { endpoints })).toMatchObject({
      endpoints: [endpoint],
    });
  });

  test('a Service is a ClusterIP with TCP ports; an empty selector is none', () => {
    expect(
      object('v1', 'Service', { spec: { selector: {}, ports: [{ port: 80 }] } }),
    ).toMatchObject({
      type: 'ClusterIP',
      hasSelector: false,
      externalTrafficPolicy: 'Cluster',
      ports: [{ name: '', port: 80, nodePort: 0, protocol: 'TCP' }],
    });
  });

  test('a Node without conditions is not ready', () => {
    expect(object('v1', 'Node')).toMatchObject({ ready: false, excluded: false, addresses: [] });
  });

  test('a Secret may be written in clear or in base64, and the clear wins as in the API', () => {
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    const data = { 'tls.crt': base64('crt'), 'tls.key': base64('old') };
    const secret = object('v1', 'Secret', { data, stringData: { 'tls.key': 'new' } });
    expect(secret).toMatchObject({ type: 'Opaque', certificate: 'crt' });
    expect(
      typeof secret === 'object' && secret.kind === 'Secret' && secret.privateKey.reveal(),
    ).toBe('new');
  });
});
