/**
 * What we use of it: workerd has the module with `nodejs_compat`, which is on by default, but
 * @cloudflare/workers-types leaves it to the types of Node, and those exclude workerd's.
 */
declare module 'node:async_hooks' {
  export class AsyncLocalStorage<T> {
    run<R>(store: T, callback: () => R): R;
    getStore(): T | undefined;
  }
}
