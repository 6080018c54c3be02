const VISIBLE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;
const ENCODER = new TextEncoder();

/**
 * A distinguished name (RFC 2253) as a header's value. It is text that whoever asked for the
 * certificate has chosen: characters that a value cannot hold, and blanks that would be lost at its
 * ends, are written as RFC 2253 section 2.4 allows for every character, by the bytes of their UTF-8
 * (`\0A`). The name stays the same name.
 */
export function headerName(distinguishedName: string): string {
  if (VISIBLE.test(distinguishedName)) return distinguishedName;
  const end = distinguishedName.length;
  // What is escaped already goes by in one piece, so that no backslash is taken for another's.
  return distinguishedName.replace(
    /\\[\x21-\x7e]|\\?[^\x21-\x7e]/gu,
    (found: string, at: number) => {
      const char = found.startsWith('\\') ? found.slice(1) : found;
      const isBlankWithin = char === ' ' && at > 0 && at + found.length < end;
      if (isBlankWithin || /^[\x21-\x7e]$/.test(char)) return found;
      return hexPairs(char.toWellFormed());
    },
  );
}

function hexPairs(char: string): string {
  let text = '';
  for (const byte of ENCODER.encode(char)) text += `\\${byte.toString(16).padStart(2, '0')}`;
  return text.toUpperCase();
}
