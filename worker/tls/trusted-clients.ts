import {
  type Authorities,
  commonNamesOf,
  isValidAt,
  readCertificate,
  type TrustedCertificate,
} from './authorities.ts';
import { intermediatesOf, type PresentedCertificate } from './presented-certificate.ts';

/** A client whose certificate leads to an authority, as far as policies ask. */
export interface TrustedClient extends TrustedCertificate {
  readonly commonNames: readonly string[];
}

/** A kilobyte or two each: clients of many hosts, and far less than what shards may take. */
const CLIENTS_MAX = 500;

/**
 * The certificates for which this isolate has found a chain. Checking signatures takes a good part of
 * a millisecond, and a client has the same certificate in each of its requests.
 *
 * Only chains that were found are kept: what had none may come with a better one next time.
 */
export class TrustedClients {
  readonly #clients = new Map<string, TrustedClient>();

  /** Null when no chain leads from the certificate to one of `authorities` at `nowMs`. */
  find(
    presented: PresentedCertificate,
    authorities: Authorities,
    depthMax: number,
    nowMs: number,
  ): TrustedClient | null {
    const { der, chain } = presented;
    if (der === null) return null;
    // By the certificate itself: nothing that is said about it may stand for another.
    const key = `${authorities.id} ${depthMax} ${der}`;
    const known = this.#clients.get(key);
    // One of several ways to an authority may end before the others.
    if (known && isValidAt(known, nowMs)) return known;
    this.#clients.delete(key);
    const leaf = readCertificate(der);
    if (!leaf) return null;
    const sent = intermediatesOf(chain).flatMap((it) => readCertificate(it) ?? []);
    const trusted = authorities.trusted(leaf, sent, depthMax, nowMs);
    if (!trusted) return null;
    const { validFromMs, validToMs } = trusted;
    const client = { commonNames: commonNamesOf(leaf), validFromMs, validToMs };
    this.#keep(key, client);
    return client;
  }

  #keep(key: string, client: TrustedClient): void {
    const [oldest] = this.#clients.keys();
    if (this.#clients.size >= CLIENTS_MAX && oldest !== undefined) this.#clients.delete(oldest);
    this.#clients.set(key, client);
  }
}
