// Traces for tenants: what cannot be asked is refused as the API refuses.
import { ApiError, invalidInput, notFound } from "#app";
import { TraceBroken } from "./asking.ts";
import { requestOf } from "./request.ts";
import { BadTrace, type TraceAnswer, type Tracer } from "./tracer.ts";

/** @throws ApiError */
export async function explained(tracer: Pick<Tracer, "trace">, asked: Readonly<Record<string, unknown>>): Promise<TraceAnswer> {
  try {
    return await tracer.trace(requestOf(asked));
  } catch (error) {
    if (error instanceof TraceBroken) throw new ApiError(503, "ServiceUnavailable", "A switch on the way does not answer at this time.", 1);
    if (!(error instanceof BadTrace)) throw error;
    throw error.status === 404 ? notFound("PortNotFound", "The port could not be found.") : invalidInput(`${error.parameter}: ${error.message}`);
  }
}
