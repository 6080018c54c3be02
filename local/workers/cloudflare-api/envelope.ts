/** The frame of every answer of api.cloudflare.com/client/v4. */
export interface Envelope {
  readonly success: boolean;
  readonly errors: readonly { readonly code: number; readonly message: string }[];
  readonly messages: readonly unknown[];
  readonly result: unknown;
  readonly result_info?: unknown;
}

/** An error of the API: an HTTP status, Cloudflare's code and its text. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly code: number;

  constructor(status: number, code: number, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function succeed(result: unknown, resultInfo?: unknown): Response {
  const envelope: Envelope = {
    success: true,
    errors: [],
    messages: [],
    result,
    ...(resultInfo !== undefined && { result_info: resultInfo }),
  };
  return Response.json(envelope);
}

export function fail(error: ApiError, headers?: Record<string, string>): Response {
  const envelope: Envelope = {
    success: false,
    errors: [{ code: error.code, message: error.message }],
    messages: [],
    result: null,
  };
  return Response.json(envelope, { status: error.status, ...(headers && { headers }) });
}

/** @throws ApiError 400 when the body of the request is not JSON. */
export async function readJson(request: { json(): Promise<unknown> }): Promise<unknown> {
  try {
    return await request.json();
  } catch {
    throw new ApiError(400, 10026, 'request body is not JSON');
  }
}
