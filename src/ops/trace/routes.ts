// POST /trace of the ops listener.
import type { OpsServer } from "../server.ts";
import { TraceBroken } from "./asking.ts";
import { requestOf } from "./request.ts";
import { BadTrace, type Tracer } from "./tracer.ts";

/** Traces at a time: each asks switches. */
const AT_ONCE = 16;
const CODES = { 400: "BAD_REQUEST", 404: "NOT_FOUND", 503: "TOO_MANY" } as const;

export function traceRoutes(server: OpsServer, tracer: Pick<Tracer, "trace">): void {
  let running = 0;
  const failure = (code: string, message: string): { error: { code: string; message: string } } => ({ error: { code, message } });
  server.post("/trace", async (request, reply) => {
    if (running >= AT_ONCE) return await reply.code(503).send(failure("TOO_MANY", `${AT_ONCE} traces are under way already; try again`));
    running++;
    try {
      return await tracer.trace({ ...requestOf(request.body), names: true });
    } catch (error) {
      if (error instanceof TraceBroken) return await reply.code(504).send(failure(error.why === "late" ? "TRACE_LATE" : "SWITCH_SILENT", error.message));
      if (!(error instanceof BadTrace)) throw error;
      return await reply.code(error.status).send(failure(CODES[error.status], `${error.parameter}: ${error.message}`));
    } finally {
      running--;
    }
  });
}
