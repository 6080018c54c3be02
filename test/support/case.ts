import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import { parse } from 'yaml';
import type { ClusterState } from '../../syncer/cluster-state.ts';
import { type CompileOptions, DEFAULTS } from '../../syncer/compile/options.ts';
import type { Compilation } from '../../syncer/compile.ts';
import { FileSource } from '../../syncer/files/file-source.ts';
import { readManifest } from '../../syncer/files/manifests.ts';
import { unknownFields } from './strict-manifest.ts';

const FOLDER = fileURLToPath(new URL('../cases/', import.meta.url));

/** `options.yaml` of a case; a case without one is a cluster with the defaults. */
const optionsSchema = v.strictObject({
  /** Differences from {@link DEFAULTS}. */
  compile: v.optional(v.record(v.picklist(Object.keys(DEFAULTS)), v.unknown()), {}),
  /** Read as `causeway dev` reads files: with an implied node and implied EndpointSlices. */
  files: v.optional(v.boolean(), false),
  /** The case is about objects that are not what their kind says. */
  malformed: v.optional(v.boolean(), false),
});

/** A situation: what is applied, what has to come out, and where requests have to go. */
export interface Case {
  readonly name: string;
  readonly golden: string;
  readonly state: ClusterState;
  readonly options: CompileOptions;
  /** `GET http://a.example/ -> default/web/80 [10.0.0.11:30080]` */
  readonly requests: readonly string[];
}

export function caseNames(): readonly string[] {
  const entries = readdirSync(FOLDER, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

/** @throws Error when the fixture itself is wrong. */
export function readCase(name: string): Case {
  const file = (base: string) => join(FOLDER, name, base);
  const options = v.parse(
    optionsSchema,
    existsSync(file('options.yaml')) ? parse(readFileSync(file('options.yaml'), 'utf8')) : {},
  );
  const state = new FileSource({
    paths: [file('objects.yaml')],
    nodeAddress: options.files ? '127.0.0.1' : null,
  }).read();
  if (!options.malformed) {
    const unknown = readManifest(file('objects.yaml')).flatMap(unknownFields);
    const wrong = [...unknown, ...state.problems.map(({ message }) => message)];
    if (wrong.length > 0) throw new Error(`${name}/objects.yaml: ${wrong.join('; ')}`);
  }
  return {
    name,
    golden: file('snapshot.json'),
    state,
    options: { ...DEFAULTS, ...options.compile },
    requests: v.parse(v.array(v.string()), parse(readFileSync(file('requests.yaml'), 'utf8'))),
  };
}

/** What a golden file holds: all that a compilation tells, in a form that a person can review. */
export function goldenText({ snapshot, problems, ignored, tls }: Compilation): string {
  const certificates = tls.map(({ ingress, hosts, secretName, certificate }) => ({
    ingress: `${ingress.namespace}/${ingress.name}`,
    hosts,
    secretName,
    certificate,
  }));
  const golden = {
    snapshot,
    problems,
    ignored: ignored.map(({ ingress, because }) => ({
      ingress: `${ingress.namespace}/${ingress.name}`,
      because,
    })),
    ...(certificates.length > 0 && { certificates }),
  };
  // Messages name files; where the repository lies is nobody's business.
  return `${readable(golden, '').replaceAll(FOLDER, '')}\n`;
}

/** JSON with everything on one line that fits on one. */
function readable(value: unknown, indent: string): string {
  const line = JSON.stringify(value);
  if (line.length + indent.length <= 100 || typeof value !== 'object' || value === null) {
    return line;
  }
  const inner = `${indent}  `;
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  const members = Array.isArray(value)
    ? value.map((item) => readable(item, inner))
    : Object.entries(value).map(
        ([key, item]) => `${JSON.stringify(key)}: ${readable(item, inner)}`,
      );
  return `${open}\n${inner}${members.join(`,\n${inner}`)}\n${indent}${close}`;
}
