// The worker of production-rules.test.ts. JavaScript, as the types of workerd and those of Node
// exclude each other in one program, and tests are checked with Node's.
import { connect } from 'cloudflare:sockets';
import { productionConnect } from '../../local/workers/production-rules/connect.ts';
import { inRequest } from '../../local/workers/production-rules/connections.ts';
import { counted } from '../../local/workers/production-rules/counted.ts';
import { productionFetch } from '../../local/workers/production-rules/fetch.ts';
import { productionGateway } from '../../local/workers/production-rules/gateway.ts';
import { staleKv } from '../../local/workers/production-rules/stale-kv.ts';

const SOCKET_OPTIONS = { secureTransport: 'off', allowHalfOpen: true };

let nowMs = 0;
const now = () => nowMs;

const gateway = productionGateway((env) => ({ connect: connectHere(env), now }));
let kvUnderRules;

/** Paths are procedures, the query has their parameters, the answer is JSON. Else the gateway. */
export default {
  async fetch(request, env, ctx) {
    const { hostname, pathname, searchParams } = new URL(request.url);
    if (hostname !== 'procedures') return gateway.fetch(request, env, ctx);
    kvUnderRules ??= staleKv(env.KV, now);
    const parameters = Object.fromEntries(searchParams);
    const result = inRequest(() => PROCEDURES[pathname.slice(1)](parameters, env));
    return Response.json(await result.catch((error) => ({ error: error.message })));
  },
};

const PROCEDURES = {
  /** Reads an answer, by the rules or not. */
  async fetch({ url, rules }) {
    const response = await (rules === 'on' ? productionFetch(fetch) : fetch)(url);
    return { status: response.status, body: await response.text() };
  },

  /** Opens a connection and closes it. */
  async connect({ hostname, port, rules }, env) {
    const inner = rules === 'network' ? connectByNetwork(env) : connectHere(env);
    const connectByRules = rules === 'off' ? inner : productionConnect(inner);
    const socket = connectByRules({ hostname, port: Number(port) }, SOCKET_OPTIONS);
    await socket.opened;
    await socket.close();
    return 'opened';
  },

  /** Talks over a socket before its connection has begun. */
  async talk({ port, text }, env) {
    const origin = `http://localhost:${port}`;
    const held = holdMany(6, productionFetch(fetch), origin);
    const socket = productionConnect(connectHere(env))(
      { hostname: env.PUBLIC_ADDRESS, port: 80 },
      SOCKET_OPTIONS,
    );
    const answer = new Response(socket.readable).text();
    const writer = socket.writable.getWriter();
    const written = writer.write(new TextEncoder().encode(text));
    await control(origin, 'until-held?count=6');
    await control(origin, 'release-all');
    await Promise.all([written, ...held]);
    return answer;
  },

  async get({ key, rules, type, cacheTtl }, env) {
    const kv = rules === 'on' ? kvUnderRules : env.KV;
    const options = { ...(type && { type }), ...(cacheTtl && { cacheTtl: Number(cacheTtl) }) };
    const { value, metadata } = await kv.getWithMetadata(key, options);
    const plain = await kv.get(key, options);
    return { value, metadata, isSame: JSON.stringify(plain) === JSON.stringify(value) };
  },

  async getMany({ keys }) {
    return [...(await kvUnderRules.get(keys.split(',')))];
  },

  async put({ key, value, version }) {
    await kvUnderRules.put(key, value, { metadata: { version: Number(version) } });
    return (await kvUnderRules.list({ prefix: key })).keys.map(({ metadata }) => metadata);
  },

  async advance({ seconds }) {
    nowMs += Number(seconds) * 1000;
    return nowMs;
  },

  /** `count` connections whose answers are held back; answered when all are. */
  async hold({ port, count, rules }) {
    const fetcher = rules === 'on' ? productionFetch(fetch) : fetch;
    await Promise.all(holdMany(Number(count), fetcher, `http://localhost:${port}`));
    return 'answered';
  },

  /** Six connections, then one more of some kind: when has it begun? */
  async seventh({ kind, port }, env) {
    const origin = `http://localhost:${port}`;
    const held = holdMany(6, productionFetch(fetch), origin);
    let begun = false;
    const seventh = SEVENTH[kind](env, origin, () => {
      begun = true;
    });
    await control(origin, 'until-held?count=6');
    const begunWhileSixWait = begun;
    await control(origin, 'release');
    await seventh;
    const begunWhenOneWasAnswered = begun;
    await control(origin, 'release-all');
    await Promise.all(held);
    return { begunWhileSixWait, begunWhenOneWasAnswered };
  },
};

/** Each begins one connection by the rules; `onBegin` is called when the one inside begins. */
const SEVENTH = {
  async fetch(_env, origin, onBegin) {
    const inner = (url) => {
      onBegin();
      return fetch(url);
    };
    await (await productionFetch(inner)(origin)).text();
  },

  async connect(env, _origin, onBegin) {
    const inner = (address, options) => {
      onBegin();
      return connectHere(env)(address, options);
    };
    const address = { hostname: env.PUBLIC_ADDRESS, port: 80 };
    const socket = productionConnect(inner)(address, SOCKET_OPTIONS);
    await socket.opened;
    await socket.close();
  },

  async kv(env, _origin, onBegin) {
    const inner = {
      get(key) {
        onBegin();
        return env.KV.get(key);
      },
    };
    await counted(inner).get('seventh');
  },

  async d1(env, _origin, onBegin) {
    const inner = {
      prepare: (sql) => ({
        bind: (...values) => ({
          all() {
            onBegin();
            return env.DB.prepare(sql)
              .bind(...values)
              .all();
          },
        }),
      }),
    };
    await counted(inner).prepare('select ?').bind(7).all();
  },
};

/** Connections to the public address end at the test's own server, whatever their port. */
function connectHere({ PUBLIC_ADDRESS, UPSTREAM_PORT }) {
  const here = { hostname: '127.0.0.1', port: UPSTREAM_PORT };
  return (address, options) =>
    connect(address.hostname === PUBLIC_ADDRESS ? here : address, options);
}

function connectByNetwork({ NETWORK }) {
  return (address, options) => NETWORK.connect(address, options);
}

function holdMany(count, fetcher, origin) {
  return Array.from({ length: count }, async () => (await fetcher(`${origin}/hold`)).text());
}

/** Tells the server something, outside of the rules. */
async function control(origin, command) {
  await (await fetch(`${origin}/${command}`)).text();
}
