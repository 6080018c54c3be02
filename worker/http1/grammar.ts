const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** RFC 9110 section 5.6.2: what methods and header names are made of. */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/**
 * RFC 9110 section 5.5: visible characters, spaces, tabs, and obs-text as latin1. No CR, LF, NUL
 * or other control character. White space around the value is the business of the line.
 */
export function isFieldValue(text: string): boolean {
  return FIELD_VALUE.test(text);
}

/** The members of a comma-separated header such as `Connection`, lower-case and without blanks. */
export function listMembers(value: string): readonly string[] {
  return value.split(',').map((member) => trimBlanks(member).toLowerCase());
}

/**
 * Takes away optional white space, which is SP and HTAB only (RFC 9110 section 5.6.3); `trim()`
 * would take NBSP too. Not a regular expression: those go quadratic on long runs of blanks.
 */
export function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
