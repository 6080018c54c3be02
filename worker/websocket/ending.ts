import type { Close } from './close.ts';

export type Side = 'client' | 'upstream';

/** How a bridged connection came to its end. For the log. */
export type Ending =
  | { readonly kind: 'closed'; readonly by: Side; readonly close: Close }
  /** The connection ended without a Close frame, which APIs call 1006. */
  | { readonly kind: 'lost'; readonly by: Side; readonly cause: string }
  /** We end both connections, each with a code of its own. */
  | {
      readonly kind: 'failed';
      readonly codes: Readonly<Record<Side, number>>;
      readonly cause: string;
    };
