import { Leader } from '../../../syncer/leader.ts';
import { SILENT_LOGGER } from '../../../syncer/log.ts';
import type { Term } from '../../../syncer/term.ts';
import { Machine, type World } from './world.ts';

/** D1, as far as fencing goes. Reached by everybody, and at once. */
export class TokenLedger {
  highest = 0;
  readonly granted: number[] = [];

  /** As `Ledger.claim` has it. */
  claim(token: number): boolean {
    if (token <= this.highest) return false;
    this.highest = token;
    this.granted.push(token);
    return true;
  }
}

/** A syncer as far as the election goes: it claims the token of each of its terms. */
export class Candidate {
  readonly machine: Machine;
  readonly leader: Leader;
  /** Whose token D1 gave us. */
  claimed: Term | null = null;

  constructor(
    name: string,
    world: World,
    ledger: TokenLedger,
    clocks: { skewMs?: number; rate?: number } = {},
  ) {
    this.machine = new Machine(world, clocks);
    this.leader = new Leader({
      store: this.machine,
      identity: name,
      clock: this.machine,
      wallMs: this.machine.wallMs,
      random: world.random,
      log: SILENT_LOGGER,
      onChange: () => {
        const { term } = this.leader;
        if (term) void this.#claim(term, ledger);
      },
    });
  }

  get leads(): boolean {
    return this.leader.term !== null;
  }

  /** Whether it leads and may move the pointer as far as it knows. */
  get publishes(): boolean {
    return this.leads && this.leader.term === this.claimed;
  }

  async #claim(term: Term, ledger: TokenLedger): Promise<void> {
    await this.machine.sleep(100, term.signal);
    if (term.isOver || term.token === null) return;
    if (ledger.claim(term.token)) this.claimed = term;
    else this.leader.outdated(term, ledger.highest);
  }
}
