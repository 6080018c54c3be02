/** What workerd has and Node has not. */
interface WorkerGlobals {
  readonly scheduler?: { wait(delayMs: number): Promise<void> };
}

/**
 * Lets workerd look at its sockets before we go on. A write that meets a reset makes it drop what
 * the same socket has received but we have not read yet: an upstream that answers 413 and hangs up
 * while we send would, without this, be heard only when lucky [seen in workerd 2026-11-17].
 */
export async function lookAtSockets(): Promise<void> {
  await (globalThis as unknown as WorkerGlobals).scheduler?.wait(0);
}
