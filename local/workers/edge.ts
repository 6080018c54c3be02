import worker from '../../worker/index.ts';
import { takingUnwantedBodies } from './unwanted-body.ts';

/** The worker of production for `causeway dev`. */
export default takingUnwantedBodies(worker);
