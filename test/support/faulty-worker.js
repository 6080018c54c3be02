import { connect } from 'cloudflare:sockets';
import { createGateway, handle } from '../../worker/gateway.ts';

/** What the bindings do instead of their work: `ok`, `down` (they throw) or `silent` (no answer). */
const state = { kv: 'ok', d1: 'ok', kvReads: 0, d1Reads: 0 };
let gateway = null;

/**
 * The worker of production on bindings that fail when they are told to. `control.test` sets what
 * they do, forgets the isolate's memory with `{"cold": true}`, and tells how often they were asked.
 */
export default {
  async fetch(request, env, ctx) {
    if (new URL(request.url).hostname === 'control.test') return control(await request.json());
    gateway ??= createGateway({ ...env, KV: faultyKv(env.KV), DB: faultyD1(env.DB) }, connect);
    return handle(gateway, request, ctx);
  },
};

function control({ cold, ...changes }) {
  const { kvReads, d1Reads } = state;
  Object.assign(state, { kvReads: 0, d1Reads: 0 }, changes);
  if (cold) gateway = null;
  return Response.json({ kvReads, d1Reads });
}

function faultyKv(kv) {
  return {
    async get(...args) {
      state.kvReads += 1;
      return outcome('kv') ?? kv.get(...args);
    },
  };
}

function faultyD1(d1) {
  return {
    prepare(sql) {
      state.d1Reads += 1;
      const fault = outcome('d1');
      return fault ? silentStatement(fault) : d1.prepare(sql);
    },
  };
}

function silentStatement(never) {
  const statement = { bind: () => statement, all: () => never, raw: () => never, run: () => never };
  return statement;
}

/** Undefined when all is well. */
function outcome(binding) {
  if (state[binding] === 'down') throw new Error(`${binding} is down`);
  return state[binding] === 'silent' ? new Promise(() => {}) : undefined;
}
