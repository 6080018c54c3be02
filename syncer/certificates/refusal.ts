import type { ProblemReason } from '../../snapshot/types.ts';
import { CloudflareError } from '../cloudflare/error.ts';

/** Why Cloudflare does not take something, as long as nothing changes. */
export interface Refusal {
  readonly reason: Extract<ProblemReason, 'CertificateNotPublished' | 'PlanInsufficient'>;
  readonly kind: 'quota' | 'plan' | 'other';
  /** In Cloudflare's words. */
  readonly answer: string;
}

/** What was refused is offered again after this time: quotas grow without a word. */
export const REFUSED_MS = 10 * 60_000;

/**
 * `null` for what is no refusal but a failure: nobody answered, the token lacks a permission.
 *
 * Cloudflare documents no codes for the errors of these calls, so plan and quota are known by their
 * words. Taken for each other or for neither, they are told with Cloudflare's words all the same.
 */
export function refusalOf(error: unknown): Refusal | null {
  if (!(error instanceof CloudflareError) || error.isTransient || error.answer === '') return null;
  const { status, answer } = error;
  if (/quota|allocat|maximum|limit/i.test(answer)) {
    return { reason: 'CertificateNotPublished', kind: 'quota', answer };
  }
  if (/\bplan\b|entitle|upgrade|subscri/i.test(answer)) {
    return { reason: 'PlanInsufficient', kind: 'plan', answer };
  }
  if (status === 401 || status === 403 || status === 404) return null;
  return { reason: 'CertificateNotPublished', kind: 'other', answer };
}

/**
 * Runs an upload that Cloudflare may not take: `null` when it does not.
 *
 * @param refused hears why, before anything else can fail
 * @param undo makes the row what it was, for nothing was done
 * @throws CloudflareError for a failure. Without an answer the row stays as it is: what became of the
 *   upload is found out by the next attempt
 */
export async function uploadUnlessRefused<T>(
  upload: () => Promise<T>,
  refused: (refusal: Refusal) => void,
  undo: () => Promise<void>,
): Promise<T | null> {
  try {
    return await upload();
  } catch (error) {
    const isAnswered = error instanceof CloudflareError && error.status !== null;
    if (!isAnswered || error.isTransient) throw error;
    const refusal = refusalOf(error);
    if (refusal) refused(refusal);
    await undo();
    if (!refusal) throw error;
    return null;
  }
}
