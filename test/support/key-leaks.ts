import { createPrivateKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

/** The numbers of a private key that nobody else knows (RFC 7518 sections 6.2.2 and 6.3.2). */
const PRIVATE_FIELDS = ['d', 'p', 'q', 'dp', 'dq', 'qi'] as const;

/** Of each form of a key, all pieces of this length are looked for: half a line is a leak too. */
const PIECE_BYTES = 16;

const PEM_LINE_CHARACTERS = 64;

/**
 * Looks for private keys in places where none may be, in whatever form: the bytes of their numbers,
 * hexadecimal and base64 of these (and so of any DER that they are in), lines of PEM as they stand,
 * and base64 and hexadecimal of those lines, as in a Secret.
 *
 * Public parts are in certificates and so are no leak: only what is derived from a secret number is
 * looked for.
 */
export class KeyLeaks {
  /** What was looked at, so that a test can tell that it looked. */
  readonly places: string[] = [];
  readonly #pieces = new Map<string, string>();
  /** One bit for the first three bytes of every piece: nearly all positions are done with that. */
  readonly #starts = new Uint8Array(2 ** 21);

  /** @param keys name to private key in PEM, of any kind. */
  constructor(keys: Readonly<Record<string, string>>) {
    for (const [name, pem] of Object.entries(keys)) this.add(name, pem);
  }

  /** One more private key. Throws when it is none. */
  add(name: string, pem: string): void {
    for (const [form, bytes] of formsOf(pem)) this.#add(`${form} of ${name}`, bytes);
  }

  /** A text that stands where a key should and is none: it may be a mutilated one. */
  addText(name: string, text: string): void {
    for (const [form, bytes] of encodingsOf('text', Buffer.from(text))) {
      this.#add(`${form} of ${name}`, bytes);
    }
  }

  /** What was found in these bytes, as `place: form of key at offset`. */
  in(place: string, content: string | Uint8Array): readonly string[] {
    this.places.push(place);
    const bytes = typeof content === 'string' ? Buffer.from(content) : Buffer.from(content);
    const found = new Map<string, number>();
    for (let at = 0; at + PIECE_BYTES <= bytes.length; at++) {
      if (!this.#mayStart(bytes, at)) continue;
      const what = this.#pieces.get(bytes.toString('latin1', at, at + PIECE_BYTES));
      if (what !== undefined && !found.has(what)) found.set(what, at);
    }
    return [...found].map(([what, at]) => `${place}: ${what} at ${at}`);
  }

  /** The same for all files of a folder, whatever they are. */
  inFolder(folder: string): readonly string[] {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((it) => it.isFile()).map((it) => join(it.parentPath, it.name));
    return files.flatMap((file) => this.in(relative(folder, file), readFileSync(file)));
  }

  #add(what: string, bytes: Buffer): void {
    for (let at = 0; at + PIECE_BYTES <= bytes.length; at += PIECE_BYTES) {
      const piece = bytes.subarray(at, at + PIECE_BYTES);
      this.#pieces.set(piece.toString('latin1'), what);
      const start = startOf(piece, 0);
      this.#starts[start >> 3] = (this.#starts[start >> 3] ?? 0) | (1 << (start & 7));
    }
  }

  #mayStart(bytes: Buffer, at: number): boolean {
    const start = startOf(bytes, at);
    return ((this.#starts[start >> 3] ?? 0) & (1 << (start & 7))) !== 0;
  }
}

function startOf(bytes: Buffer, at: number): number {
  return bytes.readUIntBE(at, 3);
}

function formsOf(pem: string): readonly (readonly [form: string, bytes: Buffer])[] {
  const key = createPrivateKey(pem);
  const jwk: JsonWebKey & Readonly<Record<string, unknown>> = key.export({ format: 'jwk' });
  const numbers = PRIVATE_FIELDS.flatMap((field) => {
    const value = jwk[field];
    return typeof value === 'string' ? [[field, Buffer.from(value, 'base64url')] as const] : [];
  });
  const values = numbers.map(([, number]) => number);
  const lines = dersOf(key).flatMap((der) => privateTexts(der, values));
  return [
    ...numbers.flatMap(([field, number]) => encodingsOf(`number ${field}`, number)),
    ...lines.flatMap((line) => encodingsOf('PEM', Buffer.from(line))),
  ];
}

/** What `tls.key` of a Secret may be: PKCS #8, or the form of its own that RSA and EC keys have. */
function dersOf(key: KeyObject): readonly Buffer[] {
  const pkcs8 = key.export({ format: 'der', type: 'pkcs8' });
  const { asymmetricKeyType } = key;
  if (asymmetricKeyType === 'rsa') return [pkcs8, key.export({ format: 'der', type: 'pkcs1' })];
  if (asymmetricKeyType === 'ec') return [pkcs8, key.export({ format: 'der', type: 'sec1' })];
  return [pkcs8];
}

/** The parts of PEM's lines that are made of these numbers and of nothing else. */
function privateTexts(der: Buffer, numbers: readonly Buffer[]): readonly string[] {
  const text = der.toString('base64');
  return numbers.flatMap((number) => {
    const at = der.indexOf(number);
    if (at < 0) return [];
    const end = Math.floor(((at + number.length) * 4) / 3);
    const parts: string[] = [];
    for (let from = Math.ceil((at * 4) / 3); from < end; ) {
      const lineEnd = (Math.floor(from / PEM_LINE_CHARACTERS) + 1) * PEM_LINE_CHARACTERS;
      parts.push(text.slice(from, Math.min(end, lineEnd)));
      from = lineEnd;
    }
    return parts;
  });
}

function encodingsOf(what: string, bytes: Buffer): readonly (readonly [string, Buffer])[] {
  const hex = bytes.toString('hex');
  return [
    [what, bytes],
    [`hex of ${what}`, Buffer.from(hex)],
    [`hex of ${what}`, Buffer.from(hex.toUpperCase())],
    // Three ways to fall on base64's groups of three, without the characters that share a neighbour.
    ...[0, 1, 2].flatMap((shift) => {
      const whole = bytes.subarray(shift, bytes.length - ((bytes.length - shift) % 3));
      return [whole.toString('base64'), whole.toString('base64url')].map(
        (text) => [`base64 of ${what}`, Buffer.from(text)] as const,
      );
    }),
  ];
}
