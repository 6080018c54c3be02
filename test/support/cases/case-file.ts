import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import { parse } from 'yaml';

/** The cases that all implementations share, beside the checkout; see their README.md. */
export const SHARED_CASES = fileURLToPath(new URL('../../../../shared/cases/', import.meta.url));

const stringMap = v.record(v.string(), v.string());
const statusSchema = v.union([v.number(), v.array(v.number())]);

/** Strict, so that an expectation which the runner does not know fails instead of passing unseen. */
const expectSchema = v.strictObject({
  backend: v.optional(v.string()),
  status: v.optional(statusSchema),
  location: v.optional(v.string()),
  locationParts: v.optional(
    v.strictObject({
      scheme: v.optional(v.string()),
      host: v.optional(v.string()),
      port: v.optional(v.union([v.string(), v.number()])),
      path: v.optional(v.string()),
      query: v.optional(v.string()),
    }),
  ),
  responseHeaders: v.optional(stringMap),
  responseHeadersAnyOf: v.optional(v.record(v.string(), v.array(v.string()))),
  responseHeadersContain: v.optional(
    v.record(v.string(), v.union([v.string(), v.array(v.string())])),
  ),
  responseHeadersAbsent: v.optional(v.array(v.string())),
  distribution: v.optional(
    v.record(
      v.string(),
      v.strictObject({
        min: v.optional(v.number()),
        max: v.optional(v.number()),
        count: v.optional(v.number()),
      }),
    ),
  ),
  // Known by name only: nothing serves them yet, so a case with one of these fails.
  endpoints: v.optional(v.unknown()),
  distinctEndpoints: v.optional(v.unknown()),
  sameEndpointEveryTime: v.optional(v.unknown()),
  mirroredTo: v.optional(v.unknown()),
  rateLimit: v.optional(v.unknown()),
});

const requestSchema = v.strictObject({
  method: v.optional(v.string(), 'GET'),
  scheme: v.optional(v.picklist(['http', 'https']), 'http'),
  host: v.string(),
  path: v.string(),
  headers: v.optional(stringMap, {}),
  cookies: v.optional(stringMap, {}),
  clientIP: v.optional(v.string(), '198.51.100.7'),
  body: v.optional(v.string()),
  bodyBytes: v.optional(v.number()),
  backendResponse: v.optional(
    v.strictObject({
      service: v.optional(v.string()),
      status: v.optional(v.number()),
      headers: v.optional(v.record(v.string(), v.union([v.string(), v.array(v.string())]))),
    }),
  ),
  backendDelayMs: v.optional(v.number()),
  repeat: v.optional(v.number(), 1),
  sni: v.optional(v.string()),
  note: v.optional(v.string()),
  derived: v.optional(v.boolean()),
  expect: v.optional(expectSchema),
  expectAnyOf: v.optional(v.array(expectSchema)),
  expectUpstreamPath: v.optional(v.string()),
  expectUpstreamHost: v.optional(v.string()),
  expectUpstreamScheme: v.optional(v.string()),
  expectUpstreamHeaders: v.optional(stringMap),
  expectUpstreamHeadersAbsent: v.optional(v.array(v.string())),
});

const caseSchema = v.strictObject({
  name: v.string(),
  source: v.string(),
  difficulty: v.picklist(['core', 'extended']),
  basis: v.string(),
  adapted: v.optional(v.string()),
  note: v.optional(v.string()),
  config: v.optional(v.record(v.string(), v.unknown()), {}),
  stubs: v.optional(v.array(v.unknown()), []),
  cookieJar: v.optional(v.boolean(), false),
  objects: v.string(),
  requests: v.array(requestSchema),
});

const fileSchema = v.object({ cases: v.array(v.looseObject({ name: v.string() })) });

export type SharedCase = v.InferOutput<typeof caseSchema>;
export type CaseRequest = v.InferOutput<typeof requestSchema>;
export type Expectation = v.InferOutput<typeof expectSchema>;

/** The files `<prefix>*.yaml`; empty where the shared folder is not beside the checkout. */
export function caseFiles(prefix: string): readonly string[] {
  if (!existsSync(SHARED_CASES)) return [];
  const names = readdirSync(SHARED_CASES).filter((it) => it.startsWith(prefix));
  return names.filter((it) => it.endsWith('.yaml')).sort();
}

/**
 * The cases of a file, or those of them that are named.
 * @throws Error when a case has a field that the runner does not know, or a name is none.
 */
export function readCases(
  file: string,
  names: readonly string[] | null = null,
): readonly SharedCase[] {
  const { cases } = v.parse(fileSchema, parse(readFileSync(join(SHARED_CASES, file), 'utf8')));
  const chosen = names?.map((name) => cases.find((it) => it.name === name)) ?? cases;
  return v.parse(v.array(caseSchema), chosen);
}
