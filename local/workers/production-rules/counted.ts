import { connection } from './connections.ts';

/** Methods of KV and D1 that ask a server. What they resolve with has arrived whole, or begun to. */
const ASKING: ReadonlySet<PropertyKey> = new Set([
  ...['get', 'getWithMetadata', 'list', 'put', 'delete'],
  ...['first', 'run', 'all', 'raw', 'batch', 'exec', 'dump'],
]);

/** Methods of D1 whose results have such methods. */
const MAKING: ReadonlySet<PropertyKey> = new Set(['prepare', 'bind', 'withSession']);

/** The binding as it is, but each of its questions counts as one of the request's connections. */
export function counted<T extends object>(binding: T): T {
  return new Proxy(binding, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== 'function') return member;
      // Bindings are native or have private fields: they know themselves, not their proxy.
      const call = (...parameters: unknown[]) => member.apply(target, parameters);
      if (ASKING.has(name)) {
        return (...parameters: unknown[]) => connection(async () => call(...parameters));
      }
      if (MAKING.has(name)) return (...parameters: unknown[]) => counted(call(...parameters));
      return call;
    },
  });
}
