const LENGTH_MAX = 100;

/**
 * A user's text for the middle of a message: in quotes, cut, and without what could break a line,
 * steer a terminal or turn text round (Unicode's control and format characters).
 */
export function quoted(text: string): string {
  const cut = text.length > LENGTH_MAX ? `${text.slice(0, LENGTH_MAX)}…` : text;
  return JSON.stringify(cut).replace(/[\p{C}\u2028\u2029]/gu, escaped);
}

function escaped(character: string): string {
  return `\\u{${character.codePointAt(0)?.toString(16)}}`;
}
