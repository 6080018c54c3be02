/** The request cannot be written as HTTP/1.1 without changing its meaning. Nothing was sent. */
export class InvalidRequestError extends Error {
  override readonly name = 'InvalidRequestError';
}

/** The client's body failed, or had another length than declared, before an answer had come. */
export class RequestBodyError extends Error {
  override readonly name = 'RequestBodyError';
}
