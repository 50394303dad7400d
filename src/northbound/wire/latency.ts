// How long the API takes, by what was asked: labels are methods, collections and classes of status, never what callers choose.
import type { FastifyInstance } from "fastify";
import type { Metrics } from "../../lib/metrics.ts";

const METHODS: readonly string[] = ["GET", "POST", "PUT", "DELETE"];
/** Answers that last as long as the client likes, or wait for switches, say nothing of the API. */
const OPEN_ENDED = /^\/v2\.0\/axion\/watch|[?&]wait=/;

/** The route of a path, of a bounded number: `/v2.0/networks`, `/v2.0/networks/{id}` (and all below it), `/v1.1`, `other`. */
export function routeOf(url: string, collections: ReadonlySet<string>): string {
  const [version = "", collection = "", id = ""] = url.split("?", 1)[0]!.replace(/^\/+/, "").split("/", 4);
  if (version === "v1.0" || version === "v1.1") return `/${version}`;
  const name = collection.replace(/\.json$/, "");
  if (version !== "v2.0" || !collections.has(name)) return "other";
  return `/v2.0/${name}${id === "" ? "" : "/{id}"}`;
}

export function measureRequests(server: FastifyInstance, metrics: Metrics, collections: ReadonlySet<string>): void {
  const seconds = metrics.histogram("axion_api_request_seconds", "From a request to the end of its answer, but for those that wait for switches and streams, by method, route and class of status (2xx)", ["method", "route", "status"],
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]);
  const failed = metrics.counter("axion_api_failures_total", "Answers of 500 and over, of all routes");
  server.addHook("onResponse", (request, reply, done) => {
    if (reply.raw.statusCode >= 500) failed.inc();
    if (!OPEN_ENDED.test(request.url)) {
      const method = METHODS.includes(request.method) ? request.method : "other";
      seconds.observe(reply.elapsedTime / 1000, { method, route: routeOf(request.url, collections), status: `${Math.floor(reply.raw.statusCode / 100)}xx` });
    }
    done();
  });
}
