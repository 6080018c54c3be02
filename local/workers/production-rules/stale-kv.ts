import { KvCache } from './kv-cache.ts';

/** Without `cacheTtl` (https://developers.cloudflare.com/kv/api/read-key-value-pairs/). */
const CACHE_TTL_SECONDS_DEFAULT = 60;

interface GetOptions {
  readonly type?: string;
  readonly cacheTtl?: number;
}

type Read = KVNamespaceGetWithMetadataResult<ArrayBuffer, unknown>;
type Entry = KVNamespaceGetWithMetadataResult<unknown, unknown>;

/**
 * A KV namespace that is as stale as production's may be: to its readers a write, of a new key
 * too, shows when what they read before has grown old. Every read still asks the namespace, for
 * its refusals (a `cacheTtl` below 30 seconds, a hundred keys and one), and so that it takes time.
 */
export function staleKv(namespace: KVNamespace, now: () => number): KVNamespace {
  const cache = new KvCache<Read>(now);

  async function read(key: string, { type, cacheTtl }: GetOptions) {
    const options = { type: 'arrayBuffer', ...(cacheTtl !== undefined && { cacheTtl }) } as const;
    const fresh: Read = await namespace.getWithMetadata(key, options);
    const { value, ...rest } = cache.answer(key, fresh, cacheTtl ?? CACHE_TTL_SECONDS_DEFAULT);
    return { ...rest, value: value && decode(value, type) };
  }

  async function readAll<T>(keys: string[], options: GetOptions, of: (entry: Entry) => T) {
    await namespace.get(keys, options as KVNamespaceGetOptions<'text'>);
    const entries = keys.map(async (key) => [key, of(await read(key, options))] as const);
    return new Map(await Promise.all(entries));
  }

  async function get(keys: string | string[], given?: string | GetOptions) {
    const options = optionsOf(given);
    if (Array.isArray(keys)) return readAll(keys, options, ({ value }) => value);
    return (await read(keys, options)).value;
  }

  async function getWithMetadata(keys: string | string[], given?: string | GetOptions) {
    const options = optionsOf(given);
    if (!Array.isArray(keys)) return read(keys, options);
    return readAll(keys, options, ({ value, metadata }) =>
      value === null ? null : { value, metadata },
    );
  }

  return new Proxy(namespace, {
    get(target, name) {
      if (name === 'get') return get;
      if (name === 'getWithMetadata') return getWithMetadata;
      const member: unknown = Reflect.get(target, name);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}

function optionsOf(given: string | GetOptions = {}): GetOptions {
  return typeof given === 'string' ? { type: given } : given;
}

/** What is kept is kept as bytes, whatever it was read as. */
function decode(bytes: ArrayBuffer, type = 'text'): unknown {
  switch (type) {
    case 'text':
      return new TextDecoder().decode(bytes);
    case 'json':
      return JSON.parse(new TextDecoder().decode(bytes));
    case 'arrayBuffer':
      // Its reader may change or transfer it.
      return bytes.slice(0);
    case 'stream':
      return new Response(bytes).body;
    default:
      throw new TypeError(`Unknown response type: ${type}`);
  }
}
