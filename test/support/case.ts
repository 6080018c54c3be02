import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import { parse } from 'yaml';
import type { ClusterState } from '../../syncer/cluster-state.ts';
import type { Certificate } from '../../syncer/compile/certificate.ts';
import { OPTION_TABLE } from '../../syncer/compile/option-table.ts';
import { type CompileOptions, DEFAULTS } from '../../syncer/compile/options.ts';
import type { TimedCompilation } from '../../syncer/compile/validity.ts';
import { FileSource } from '../../syncer/files/file-source.ts';
import { readManifest } from '../../syncer/files/manifests.ts';
import { unknownFields } from './strict-manifest.ts';

const FOLDER = fileURLToPath(new URL('../cases/', import.meta.url));

/** `options.yaml` of a case; a case without one is a cluster with the defaults. */
const optionsSchema = v.strictObject({
  /** Differences from {@link DEFAULTS}. */
  compile: v.optional(v.record(v.picklist(Object.keys(DEFAULTS)), v.unknown()), {}),
  /** Options as text, by the names in the table of options. */
  options: v.optional(v.record(v.string(), v.string()), {}),
  /** Read as `causeway dev` reads files: with an implied node and implied EndpointSlices. */
  files: v.optional(v.boolean(), false),
  /** What the clock says, for certificates. */
  now: v.optional(v.string(), '2027-01-01T00:00:00Z'),
  /** The case is about objects that are not what their kind says. */
  malformed: v.optional(v.boolean(), false),
});

/** A situation: what is applied, what has to come out, and where requests have to go. */
export interface Case {
  readonly name: string;
  readonly golden: string;
  readonly state: ClusterState;
  readonly options: CompileOptions;
  readonly nowMs: number;
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
    options: Object.assign({}, DEFAULTS, options.compile, ...parsedOptions(options.options)),
    nowMs: Date.parse(options.now),
    requests: v.parse(v.array(v.string()), parse(readFileSync(file('requests.yaml'), 'utf8'))),
  };
}

function parsedOptions(texts: Readonly<Record<string, string>>): Partial<CompileOptions>[] {
  return Object.entries(texts).map(([name, text]) => {
    const row = OPTION_TABLE.find((it) => it.name === name);
    if (!row) throw new Error(`there is no option ${name}`);
    return row.parse(text);
  });
}

/** What a golden file holds: all that a compilation tells, in a form that a person can review. */
export function goldenText(compilation: TimedCompilation): string {
  const { snapshot, problems, ignored, tls } = compilation;
  const claims = tls.claims.map(({ ingress, field, hosts, secretName, certificate }) => ({
    claim: `${ingress.namespace}/${ingress.name} ${field}`,
    hosts,
    secretName,
    certificate: certificate && summary(certificate),
  }));
  const served = [...compilation.certificates].map(([host, certificates]) => [
    host,
    certificates.map(({ secret, keyType }) => `${keyType} ${secret.namespace}/${secret.name}`),
  ]);
  const golden = {
    snapshot,
    problems,
    ignored: ignored.map(({ ingress, because }) => ({
      ingress: `${ingress.namespace}/${ingress.name}`,
      because,
    })),
    ...(claims.length > 0 && { tls: { claims, served: Object.fromEntries(served) } }),
  };
  // Messages name files; where the repository lies is nobody's business.
  return `${readable(golden, '').replaceAll(FOLDER, '')}\n`;
}

function summary({ keyType, subject, names, notBeforeMs, notAfterMs }: Certificate) {
  const [notBefore, notAfter] = [notBeforeMs, notAfterMs].map((ms) => new Date(ms).toISOString());
  return { keyType, subject, names, notBefore, notAfter };
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
