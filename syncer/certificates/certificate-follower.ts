import type { Follower } from '../followers.ts';
import type { Term } from '../term.ts';
import type { EdgeTls } from './edge-tls.ts';
import type { FoundProblems } from './found-problems.ts';
import { problemsOf, wantedHosts } from './wanted.ts';

export interface CertificateFollowerOptions {
  /** One for each term, so that no call of an old one is made with a new one's token. */
  readonly edgeTlsFor: (term: Term, fencingToken: number) => Pick<EdgeTls, 'run'>;
  /** Gets what could not be had. */
  readonly found: FoundProblems;
  /** Called when that is something else than before, so that the next run tells it. */
  readonly onFound: () => void;
}

/** Brings certificates to Cloudflare after routes were published, and reports what is in the way. */
export function certificateFollower(options: CertificateFollowerOptions): Follower {
  const { edgeTlsFor, found, onFound } = options;
  let current: { readonly term: Term; readonly edgeTls: Pick<EdgeTls, 'run'> } | null = null;
  return async ({ compilation, term, fencingToken }) => {
    if (current?.term !== term) current = { term, edgeTls: edgeTlsFor(term, fencingToken) };
    const hosts = wantedHosts(compilation);
    const findings = await current.edgeTls.run(hosts);
    if (found.replace(problemsOf(findings, hosts))) onFound();
  };
}
