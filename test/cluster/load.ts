import { Agent, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import type { EchoAnswer } from './echo-server.ts';
import { waitFor } from './wait.ts';

export interface LoadOptions {
  readonly port: number;
  readonly host: string;
  /** `namespace/service`: who must have answered. */
  readonly service: string;
  /** How many requests there should be at least. */
  readonly wanted: number;
  /** How many clients ask at the same time. Default 6. */
  readonly clients?: number;
}

/** A loop that runs on is a mistake, and says so. */
const REQUESTS_MAX = 400_000;
const DURATION_MS_MAX = 900_000;
const TIMEOUT_MS = 30_000;
const FAILURES_MAX = 20;

interface Question {
  readonly name: string;
  readonly method: 'GET' | 'POST';
  readonly isKept: boolean;
  readonly body: string;
  readonly isChunked: boolean;
}

const BODY = 'x'.repeat(3_000);

/** Each client asks these in turn, so that each is a sixth of the load. */
const QUESTIONS: readonly Question[] = [
  { name: 'GET, kept', method: 'GET', isKept: true, body: '', isChunked: false },
  { name: 'GET, closed', method: 'GET', isKept: false, body: '', isChunked: false },
  { name: 'POST, kept', method: 'POST', isKept: true, body: BODY, isChunked: false },
  { name: 'POST, closed', method: 'POST', isKept: false, body: BODY, isChunked: false },
  { name: 'POST in chunks, kept', method: 'POST', isKept: true, body: BODY, isChunked: true },
  { name: 'POST, empty, kept', method: 'POST', isKept: true, body: '', isChunked: false },
];

/**
 * What `wrk` does, and looks at each answer: a 200 of the right Service, which got the method, the
 * path and the bytes that were sent. Nothing is asked twice: a failure is a failure.
 */
export class Load {
  /** What was wrong, with the kind of request it happened to. */
  readonly failures: string[] = [];
  readonly #options: LoadOptions;
  readonly #clients: Promise<void>[] = [];
  readonly #pods = new Set<string>();
  #count = 0;
  #isStopping = false;

  private constructor(options: LoadOptions) {
    this.#options = options;
  }

  static start(options: LoadOptions): Load {
    const load = new Load(options);
    const { clients = 6 } = options;
    for (let n = 0; n < clients; n++) load.#clients.push(load.#run(n));
    return load;
  }

  /** How many requests have ended so far, well or not. */
  get count(): number {
    return this.#count;
  }

  /** How many different pods have answered. */
  get podCount(): number {
    return this.#pods.size;
  }

  /** Whether there should be more. */
  get isWanted(): boolean {
    return this.#count < this.#options.wanted && this.failures.length < FAILURES_MAX;
  }

  /** Waits until there was this share of those wanted, or so many failures that more say nothing. */
  async reaches(share: number): Promise<void> {
    const isThere = () => !this.isWanted || this.#count >= share * this.#options.wanted;
    await waitFor('the requests', isThere, { timeoutMs: DURATION_MS_MAX });
  }

  /** Ends the requests under way. Idempotent. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#clients);
  }

  async #run(client: number): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const startedMs = performance.now();
    for (let n = client; !this.#isStopping; n++) {
      if (this.#count >= REQUESTS_MAX || performance.now() - startedMs > DURATION_MS_MAX) {
        this.failures.push(`still running after ${this.#count} requests`);
        break;
      }
      const question = QUESTIONS[n % QUESTIONS.length] as Question;
      const path = `/client-${client}/request-${n}?from=load`;
      const wrong = await this.#ask(question, path, agent).catch(String);
      this.#count++;
      if (wrong !== null) this.failures.push(`${question.name}: ${wrong}`);
    }
    agent.destroy();
  }

  async #ask(question: Question, path: string, agent: Agent): Promise<string | null> {
    const { method, body } = question;
    const response = await this.#send(question, path, agent);
    const content = await text(response);
    if (response.statusCode !== 200) return `${response.statusCode} ${content.trim()}`;
    const echo = JSON.parse(content) as EchoAnswer;
    this.#pods.add(echo.pod);
    const got = [`${echo.namespace}/${echo.service}`, echo.method, echo.path, echo.bodyBytes];
    const wanted = [this.#options.service, method, path, body.length];
    return String(got) === String(wanted) ? null : `${got} instead of ${wanted}`;
  }

  #send(question: Question, path: string, agent: Agent): Promise<IncomingMessage> {
    const { port, host } = this.#options;
    const { method, body, isKept, isChunked } = question;
    const length = isChunked || method === 'GET' ? {} : { 'content-length': body.length };
    const options = {
      ...{ host: '127.0.0.1', port, path, method, headers: { host, ...length } },
      agent: isKept ? agent : false,
    };
    return new Promise((resolve, reject) => {
      const sent = request({ ...options, timeout: TIMEOUT_MS }, resolve);
      sent.once('timeout', () => sent.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
      sent.once('error', reject);
      if (isChunked) sent.write(body.slice(0, 1_000));
      sent.end(isChunked ? body.slice(1_000) : body);
    });
  }
}
