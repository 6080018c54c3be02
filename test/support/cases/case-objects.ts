import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { type ClusterState, clusterState } from '../../../syncer/cluster-state.ts';
import { DEFAULTS } from '../../../syncer/compile/options.ts';
import { decodeObject } from '../../../syncer/kubernetes/decode.ts';

/** As far as the runner looks into objects that it hands on undecoded. */
interface RawObject {
  readonly kind?: string;
  readonly metadata?: { readonly name?: string; readonly namespace?: string };
  readonly spec?: { readonly ports?: readonly RawPort[] };
}

interface RawPort {
  readonly port: number;
  nodePort?: number;
}

/** A node port of a case; `backend` is `namespace/service:port`. */
export interface NodePort {
  readonly backend: string;
  /** Replaces the number that the case gives, which may be in use on this machine. */
  assign(port: number): void;
}

/** The objects of one case, with all placeholders filled in. */
export class CaseObjects {
  readonly nodePorts: readonly NodePort[];
  readonly #raw: readonly RawObject[];

  constructor(yaml: string) {
    const text = yaml
      .replaceAll('{CONTROLLER_NAME}', DEFAULTS.controllerName)
      .replaceAll(
        /\{TLS_(CRT|KEY) ([^}]*)\}/g,
        (_, part, names) => tlsMaterial(names)[part as 'CRT' | 'KEY'],
      );
    this.#raw = parseAllDocuments(text).flatMap((document) => {
      const object: RawObject | null = document.toJS();
      return object ? [object] : [];
    });
    this.nodePorts = this.#raw.flatMap(nodePortsOf);
  }

  /** As a cluster of one ready node at `nodeAddress` would be read. */
  state(nodeAddress: string): ClusterState {
    const decoded = [...this.#raw, node(nodeAddress)].map(decodeObject);
    return clusterState(
      decoded.flatMap((it) => (it.ok ? it.objects : [])),
      decoded.flatMap((it) => (it.ok ? [] : [it.problem])),
    );
  }
}

function nodePortsOf({ kind, metadata, spec }: RawObject): NodePort[] {
  if (kind !== 'Service') return [];
  const name = `${metadata?.namespace ?? 'default'}/${metadata?.name}`;
  const ports = (spec?.ports ?? []).filter((port) => port.nodePort !== undefined);
  return ports.map((raw) => ({
    backend: `${name}:${raw.port}`,
    assign: (port) => {
      raw.nodePort = port;
    },
  }));
}

function node(address: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node-1' },
    status: {
      addresses: [{ type: 'InternalIP', address }],
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  };
}

interface TlsMaterial {
  readonly CRT: string;
  readonly KEY: string;
}

const TLS_MATERIAL = new Map<string, TlsMaterial>();

/** A self-signed certificate for these names and its key, base64 of PEM, made once. */
function tlsMaterial(names: string): TlsMaterial {
  const known = TLS_MATERIAL.get(names);
  if (known) return known;
  const dnsNames = names.split(/[\s,]+/).filter((name) => name !== '');
  const folder = mkdtempSync(join(tmpdir(), 'causeway-tls-'));
  try {
    const subject = ['-subj', `/CN=${dnsNames[0]}`];
    const alternatives = `subjectAltName=${dnsNames.map((name) => `DNS:${name}`).join(',')}`;
    const output = ['-keyout', join(folder, 'key'), '-out', join(folder, 'crt')];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    const args = ['req', '-x509', ...curve, ...subject, '-addext', alternatives, '-days', '2'];
    execFileSync('openssl', [...args, ...output], { stdio: 'ignore' });
    const read = (file: string) => readFileSync(join(folder, file)).toString('base64');
    const material = { CRT: read('crt'), KEY: read('key') };
    TLS_MATERIAL.set(names, material);
    return material;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
