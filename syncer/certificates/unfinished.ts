import { CloudflareError } from '../cloudflare/error.ts';
import type { CertificateRow, OtherRow } from './certificate-ledger.ts';
import { namesText, uploadsOf } from './custom-plan.ts';
import type { RemoteCertificate } from './tls-answers.ts';
import type { UploadOptions } from './upload-options.ts';
import type { Zone } from './zones.ts';

/** A cluster whose syncer does not come back is not waited for any longer. */
const RIVAL_MS = 10 * 60_000;

type Context = Pick<UploadOptions, 'ledger' | 'nowMs' | 'log'>;

/**
 * Makes the rows of a zone say what is there, whatever was begun and not seen to its end by us or by
 * who led before.
 *
 * @param remote all certificates of the zone
 * @throws CloudflareError
 * @throws FencedOff
 */
export async function settle(
  zone: Zone,
  rows: readonly CertificateRow[],
  remote: readonly RemoteCertificate[],
  context: Context,
): Promise<void> {
  const { ledger, log } = context;
  const ids = new Set(remote.map(({ id }) => id));
  for (const row of rows) {
    const isThere = ids.has(row.remoteId);
    const { remoteId, names, state } = row;
    if (state === 'uploaded') {
      if (isThere) continue;
      log.warn({ zone: zone.name, remoteId, names }, 'a certificate was deleted by somebody else');
      await ledger.remove([row]);
    } else if (state === 'deleting') {
      if (isThere) await ledger.write([{ ...row, state: 'uploaded' }]);
      else await ledger.remove([row]);
    } else if (isThere) {
      // Not replaced. Which certificate it is was overwritten, so it equals none that is wanted.
      await ledger.write([{ ...row, state: 'uploaded', fingerprint: '' }]);
    } else {
      await find(zone, row, remote, context);
    }
  }
}

/** The end of an upload whose answer nobody heard. */
async function find(
  zone: Zone,
  row: CertificateRow,
  remote: readonly RemoteCertificate[],
  { ledger, nowMs, log }: Context,
): Promise<void> {
  const own = new Set((await ledger.rows()).map(({ remoteId }) => remoteId));
  const others = await ledger.others();
  const ofOthers = new Set(others.map(({ remoteId }) => remoteId));
  const isKnown = (id: string) => own.has(id) || ofOthers.has(id);
  if (others.some((it) => isRival(it, row, nowMs()))) {
    const text = 'another cluster is just uploading a certificate for the same names';
    throw new CloudflareError(text, { isTransient: true });
  }
  const [found, ...more] = uploadsOf(row, remote, isKnown);
  const { names } = row;
  if (!found || more.length > 0) {
    if (found) {
      const candidates = [found, ...more].map(({ id }) => id);
      const text =
        'several certificates may be the one whose upload was not answered; none is touched: delete by hand what nobody needs';
      log.warn({ zone: zone.name, names, candidates }, text);
    }
    return ledger.remove([row]);
  }
  const text = 'found the certificate whose upload was not answered';
  log.info({ zone: zone.name, names, remoteId: found.id }, text);
  await ledger.write([uploadedRow(row, found, nowMs())]);
}

/** Whether what is found might be what that row waits for as well. */
function isRival(other: OtherRow, row: CertificateRow, nowMs: number): boolean {
  const isUnderWay = other.state === 'creating' || other.state === 'replacing';
  return (
    isUnderWay &&
    other.zone === row.zone &&
    nowMs - other.begunAtMs < RIVAL_MS &&
    namesText(other.names) === namesText(row.names)
  );
}

export function uploadedRow(
  row: CertificateRow,
  { id }: Pick<RemoteCertificate, 'id'>,
  uploadedAtMs: number,
): CertificateRow {
  return { ...row, state: 'uploaded', remoteId: id, idsBefore: [], uploadedAtMs };
}
