import { clientHeaders, clientResponse } from '../client-response.ts';
import type { UpstreamRequest, UpstreamResponse } from '../http1/message.ts';
import type { RequestId } from '../request-id.ts';
import { bridge } from './bridge.ts';
import { offerHandshake, verifyHandshake } from './handshake.ts';

/**
 * Takes a client's WebSocket request to an upstream and, if it agrees, bridges the two for as long
 * as both stay. An upstream that refuses (any status but 101) is heard as on any other request.
 * Rejects as `send` does, and with an UpstreamError for an upgrade that is none.
 */
export async function proxyWebSocket(
  request: UpstreamRequest,
  send: (request: UpstreamRequest) => Promise<UpstreamResponse>,
  requestId: RequestId,
  ctx: Pick<ExecutionContext, 'waitUntil'>,
): Promise<Response> {
  const handshake = offerHandshake(request.headers);
  const { headers } = handshake;
  const answer = await send({
    ...request,
    headers,
    body: null,
    contentLength: null,
    upgrade: 'websocket',
  });
  const { upgraded } = answer;
  if (!upgraded) return clientResponse(answer, requestId);
  let forClient: Headers;
  try {
    forClient = clientHeaders(await verifyHandshake(handshake, answer.headers), requestId);
  } catch (error) {
    await upgraded.close();
    throw error;
  }
  const [webSocket, client] = Object.values(new WebSocketPair());
  if (!webSocket || !client) throw new Error('WebSocketPair gave no pair');
  const ended = bridge({ upgraded, client }).then((ending) => {
    if (ending.kind === 'closed') return;
    console.warn(JSON.stringify({ level: 'warn', requestId: requestId.id, webSocket: ending }));
  });
  ctx.waitUntil(ended);
  return new Response(null, { status: 101, headers: forClient, webSocket });
}
