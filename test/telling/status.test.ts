import { describe, expect, test } from 'vitest';
import type { CompileOptions } from '../../syncer/compile/options.ts';
import { planStatus } from '../../syncer/status.ts';
import type { RawObject } from '../kubernetes/scripted-api-server.ts';
import { compiled, EDGE, ingress, MANAGER, PUBLISHING, service } from './situation.ts';

/** `set web 192.0.2.1 edge.example.com`, `clear web`. */
function plan(objects: readonly RawObject[], options: Partial<CompileOptions> = PUBLISHING) {
  return planStatus(compiled(objects, options)).map((it) =>
    [it.kind, it.ingress.name, ...it.addresses.map((a) => a.ip || a.hostname)].join(' '),
  );
}

describe('an Ingress of ours', () => {
  test.each([
    ['shows nothing', {}, [`set web ${EDGE}`]],
    ['shows the edge', { shows: [EDGE] }, []],
    ['shows the edge, and another wrote it', { shows: [EDGE], managers: ['nginx'] }, []],
    ['shows something else', { shows: ['old.example'] }, [`set web ${EDGE}`]],
    ['shows more than the edge', { shows: [EDGE, 'old.example'] }, [`set web ${EDGE}`]],
  ])('%s', (_, parts, expected) => {
    expect(plan([ingress(parts), service()])).toEqual(expected);
  });

  test('with errors shows the edge too: the rest of it is served there', () => {
    expect(plan([ingress({ service: 'typo' })])).toEqual([`set web ${EDGE}`]);
  });

  test('is left alone when nobody has said where the edge is', () => {
    expect(plan([ingress({ shows: ['old.example'] })], {})).toEqual([]);
  });

  test('shows all addresses, sorted, whatever order they were given in', () => {
    const publishAddresses = ['edge.example.com', '192.0.2.2', '192.0.2.1'];
    const expected = ['set web edge.example.com 192.0.2.1 192.0.2.2'];
    expect(plan([ingress()], { publishAddresses })).toEqual(expected);
    expect(plan([ingress()], { publishAddresses: publishAddresses.toReversed() })).toEqual(
      expected,
    );
  });
});

describe('an Ingress that is not ours', () => {
  const className = 'nginx';
  test.each([
    ['shows what we wrote', { shows: [EDGE], managers: ['kubectl', MANAGER] }, ['clear web']],
    ['shows what we wrote, on a server that does not say who', { shows: [EDGE] }, ['clear web']],
    ['shows the same, and another wrote it', { shows: [EDGE], managers: ['other/other'] }, []],
    ['shows something else', { shows: ['nginx.example'], managers: [MANAGER] }, []],
    ['shows more than we wrote', { shows: [EDGE, 'b.example'], managers: [MANAGER] }, []],
    ['shows nothing', { managers: [MANAGER] }, []],
  ])('%s', (_, parts, expected) => {
    expect(plan([ingress({ className, ...parts }), service()])).toEqual(expected);
  });

  test('two Causeways with one address each leave alone what the other wrote', () => {
    const other = { ...PUBLISHING, controllerName: 'acme.example/other', ingressClass: 'other' };
    const mine = ingress({ name: 'mine', shows: [EDGE], managers: [MANAGER] });
    const theirs = ingress({
      name: 'theirs',
      className: 'other',
      shows: [EDGE],
      managers: ['acme.example/other/other'],
    });
    expect(plan([mine, theirs, service()])).toEqual([]);
    expect(plan([mine, theirs, service()], other)).toEqual([]);
  });
});

describe('a Service to copy from', () => {
  const publishService = { namespace: 'shop', name: 'edge' };
  const balanced = (status: object, spec: object = {}): RawObject => ({
    ...service('edge', { type: 'LoadBalancer', externalName: '', ...spec }),
    status,
  });

  test('gives the addresses of its status, without ports, and its externalIPs', () => {
    const status = {
      loadBalancer: { ingress: [{ ip: '192.0.2.7', ports: [{ port: 443, protocol: 'TCP' }] }] },
    };
    const edge = balanced(status, { externalIPs: ['192.0.2.8'] });
    expect(plan([ingress(), edge], { publishService })).toEqual(['set web 192.0.2.7 192.0.2.8']);
  });

  test('that is an ExternalName gives that name', () => {
    const edge = service('edge', { externalName: 'lb.example.com' });
    expect(plan([ingress(), edge], { publishService })).toEqual(['set web lb.example.com']);
  });

  test('without an address yet, or missing, changes nothing', () => {
    const shows = ['old.example'];
    expect(plan([ingress({ shows }), balanced({})], { publishService })).toEqual([]);
    expect(plan([ingress({ shows })], { publishService })).toEqual([]);
  });
});

test('a class may show another address than the controller', () => {
  const objects: RawObject[] = [
    ingress({ name: 'inside', className: 'inside' }),
    ingress({ name: 'outside' }),
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'IngressClass',
      metadata: { name: 'inside' },
      spec: {
        controller: 'causeway.dev/ingress-controller',
        parameters: { kind: 'ConfigMap', name: 'inside', namespace: 'edge', scope: 'Namespace' },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'inside', namespace: 'edge' },
      data: { 'publish-address': 'inside.example.com' },
    },
  ];
  expect(plan(objects)).toEqual(['set inside inside.example.com', `set outside ${EDGE}`]);
  const moved = ingress({ className: 'nginx', shows: ['inside.example.com'], managers: [MANAGER] });
  expect(plan([...objects.slice(2), moved])).toEqual(['clear web']);
});
