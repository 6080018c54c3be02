import { type ClientMessage, valuesOf } from '../message.ts';
import type { CaseRequest, Expectation } from './case-file.ts';
import type { SeenRequest } from './identity-servers.ts';

/** One request's outcome: what the client got and which backends saw it. */
export interface Outcome {
  readonly response: ClientMessage;
  readonly seen: readonly SeenRequest[];
}

/** Everything that is not as the case wants it; empty when the request passes. */
export function mistakesOf(request: CaseRequest, outcomes: readonly Outcome[]): readonly string[] {
  const choices = request.expectAnyOf ?? (request.expect ? [request.expect] : []);
  const [first, ...others] = choices.map((choice) =>
    expectationMistakes(choice, request, outcomes),
  );
  if (!first) return ['the request expects nothing'];
  const upstream = outcomes.flatMap((outcome) => upstreamMistakes(request, outcome));
  if (others.some((it) => it.length === 0)) return upstream;
  return [...first, ...upstream];
}

function expectationMistakes(
  { distribution, ...each }: Expectation,
  request: CaseRequest,
  outcomes: readonly Outcome[],
): readonly string[] {
  if (distribution) return distributionMistakes(distribution, outcomes);
  return outcomes.flatMap((outcome) => [
    ...backendMistakes(each, request, outcome),
    ...locationMistakes(each, outcome),
    ...responseHeaderMistakes(each, outcome),
    ...NOT_CHECKED.filter((key) => each[key] !== undefined).map(
      (key) => `${key} is not checked yet`,
    ),
  ]);
}

const NOT_CHECKED = [
  'endpoints',
  'distinctEndpoints',
  'sameEndpointEveryTime',
  'mirroredTo',
  'rateLimit',
] as const;

function backendMistakes(
  { backend, status }: Expectation,
  { backendResponse }: CaseRequest,
  { response, seen }: Outcome,
): readonly string[] {
  const mistakes: string[] = [];
  const wanted = status ?? (backend ? (backendResponse?.status ?? 200) : null);
  if (wanted !== null && ![wanted].flat().includes(response.status)) {
    mistakes.push(`status ${response.status}, not ${wanted}`);
  }
  const reached = seen.map((it) => it.backend).join(', ');
  // A redirect or refusal is ours to give, so that no backend may have heard of the request.
  const isOurs = backend === undefined && [wanted ?? 200].flat().every((it) => it >= 300);
  if (backend !== undefined && reached !== backend) {
    mistakes.push(`served by ${reached || 'nobody'}, not ${backend}`);
  }
  if (isOurs && reached !== '' && !backendResponse) mistakes.push(`${reached} got the request`);
  return mistakes;
}

function locationMistakes(
  { location, locationParts }: Expectation,
  { response }: Outcome,
): readonly string[] {
  const found = valuesOf(response, 'location').join(' | ');
  // A URL without a path is the same as one with `/` (RFC 3986 section 6.2.3).
  const same = (url: string) => (URL.canParse(url) ? new URL(url).href : url);
  if (location !== undefined && same(found) !== same(location)) {
    return [`Location ${found}, not ${location}`];
  }
  if (!locationParts) return [];
  const url = new URL(found, 'http://relative.invalid');
  const parts: Record<string, string> = {
    scheme: url.protocol.slice(0, -1),
    host: url.hostname,
    port: url.port,
    path: url.pathname,
    query: url.search.slice(1),
  };
  return Object.entries(locationParts).flatMap(([part, wanted]) =>
    parts[part] === String(wanted) ? [] : [`Location ${found}: its ${part} is not ${wanted}`],
  );
}

function responseHeaderMistakes(
  expectation: Expectation,
  { response }: Outcome,
): readonly string[] {
  const mistakes: string[] = [];
  const textOf = (name: string) => valuesOf(response, name.toLowerCase()).join(', ');
  const check = (name: string, ok: boolean, wanted: string) => {
    if (!ok) mistakes.push(`response header ${name} is "${textOf(name)}", not ${wanted}`);
  };
  for (const [name, value] of Object.entries(expectation.responseHeaders ?? {})) {
    check(name, textOf(name) === value, `"${value}"`);
  }
  for (const [name, values] of Object.entries(expectation.responseHeadersAnyOf ?? {})) {
    check(name, values.includes(textOf(name)), `one of "${values.join('", "')}"`);
  }
  for (const [name, parts] of Object.entries(expectation.responseHeadersContain ?? {})) {
    for (const part of [parts].flat()) check(name, textOf(name).includes(part), `with "${part}"`);
  }
  for (const name of expectation.responseHeadersAbsent ?? []) {
    check(name, valuesOf(response, name.toLowerCase()).length === 0, 'absent');
  }
  return mistakes;
}

function distributionMistakes(
  distribution: NonNullable<Expectation['distribution']>,
  outcomes: readonly Outcome[],
): readonly string[] {
  return Object.entries(distribution).flatMap(([key, { min = 0, max, count }]) => {
    const found = outcomes.filter(
      ({ response, seen }) => String(response.status) === key || seen[0]?.backend === key,
    ).length;
    const isRight = count === undefined ? found >= min && found <= (max ?? found) : found === count;
    return isRight ? [] : [`${key} ${found} times of ${outcomes.length}`];
  });
}

function upstreamMistakes(request: CaseRequest, { seen: [seen] }: Outcome): readonly string[] {
  const mistakes: string[] = [];
  const check = (what: string, found: string | undefined, wanted: string | undefined) => {
    if (wanted !== undefined && found !== wanted) {
      mistakes.push(`the backend saw ${what} ${found ?? '(nothing)'}, not ${wanted}`);
    }
  };
  check('path', seen?.path, request.expectUpstreamPath);
  check('host', seen?.headers.host, request.expectUpstreamHost);
  check('scheme', seen && 'http', request.expectUpstreamScheme);
  for (const [name, value] of Object.entries(request.expectUpstreamHeaders ?? {})) {
    check(`header ${name}`, seen?.headers[name.toLowerCase()], value);
  }
  for (const name of request.expectUpstreamHeadersAbsent ?? []) {
    const found = seen?.headers[name.toLowerCase()];
    if (found !== undefined) mistakes.push(`the backend saw header ${name} ${found}`);
  }
  return mistakes;
}
