/** `a, b and 98 more`: what a message names of many, and how many it leaves out. */
export function someOf<T>(
  items: readonly T[],
  max: number,
  textOf: (item: T) => string = String,
): string {
  const shown = items.slice(0, max).map(textOf).join(', ');
  const more = items.length - max;
  return more > 0 ? `${shown} and ${more} more` : shown;
}
