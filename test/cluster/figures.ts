/** As `median 12 ms, worst 34 ms of 20`. @param tookMs at least one. */
export function figures(tookMs: readonly number[]): string {
  const sorted = tookMs.map(Math.round).sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  return `median ${median} ms, worst ${sorted.at(-1)} ms of ${sorted.length}`;
}
