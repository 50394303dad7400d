// Refusals: what a caller of the API may fix. `type` is Neutron's own error name, because clients match it.
// Peer faults and bugs are other classes; see docs/errors.md.

import { cut } from "../../lib/text.ts";

/** Of a message, in UTF-16 units: what callers said is quoted short, and no answer is longer than this because somebody forgot to. */
const MESSAGE_MAX = 1500;

export class ApiError extends Error {
  readonly type: string;
  readonly status: number;
  /** Seconds after which to try again: sent as Retry-After. */
  readonly retryAfterS: number | undefined;
  constructor(status: number, type: string, message: string, retryAfterS?: number) {
    super(cut(message, MESSAGE_MAX));
    this.retryAfterS = retryAfterS;
    this.name = "ApiError";
    this.status = status;
    this.type = type;
  }
}

export const badRequest = (message: string, type = "HTTPBadRequest"): ApiError => new ApiError(400, type, message);
export const invalidInput = (message: string): ApiError => new ApiError(400, "InvalidInput", `Invalid input for operation: ${message}.`);
export const notFound = (type: string, message: string): ApiError => new ApiError(404, type, message);
export const conflict = (type: string, message: string): ApiError => new ApiError(409, type, message);
export const forbidden = (type: string, message: string): ApiError => new ApiError(403, type, message);
