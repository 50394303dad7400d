// POST /trace of the ops listener.
import type { OpsServer } from "../server.ts";
import { requestOf } from "./request.ts";
import { BadTrace, type Tracer } from "./tracer.ts";

/** Traces at a time: each asks switches. */
const AT_ONCE = 16;

export function traceRoutes(server: OpsServer, tracer: Pick<Tracer, "trace" | "portNamed">): void {
  let running = 0;
  const failure = (code: string, message: string): { error: { code: string; message: string } } => ({ error: { code, message } });
  server.post("/trace", async (request, reply) => {
    if (running >= AT_ONCE) return await reply.code(503).send(failure("TOO_MANY", `${AT_ONCE} traces are under way already; try again`));
    running++;
    try {
      const asked = requestOf(request.body);
      const { what } = asked;
      return await tracer.trace("switch" in what ? asked : { ...asked, what: { ...what, from: tracer.portNamed(what.from, "from"), to: tracer.portNamed(what.to, "to") } });
    } catch (error) {
      if (!(error instanceof BadTrace)) throw error;
      return await reply.code(error.status).send(failure(error.status === 404 ? "NOT_FOUND" : "BAD_REQUEST", `${error.parameter}: ${error.message}`));
    } finally {
      running--;
    }
  });
}
