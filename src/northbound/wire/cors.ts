// CORS (Fetch standard): scripts of web pages at the origins an operator names may use the API. Without any, nothing of it is said.
import type { IncomingHttpHeaders } from "node:http";

const METHODS = "GET, HEAD, POST, PUT, DELETE";
const ASKED = "Accept, Content-Type, Content-Encoding, If-Match, Last-Event-ID, X-Auth-Token, X-Axion-Min-Generation, X-Openstack-Request-Id, X-Project-Id, X-Roles, X-User-Id";
const SHOWN = "Retry-After, X-Axion-Dataplane, X-Axion-Generation, X-Axion-Pending-Count, X-Axion-Pending-Hosts, X-Openstack-Request-Id";
const MAX_AGE_S = "600";

export type Headers = Readonly<Record<string, string>>;

/** Headers of an answer to a page of `origin`; undefined if it is none of `origins`, which are as browsers send them. */
export function corsHeaders(origins: ReadonlySet<string>, { origin }: IncomingHttpHeaders): Headers | undefined {
  return origin === undefined || !origins.has(origin) ? undefined : { "access-control-allow-origin": origin, "access-control-expose-headers": SHOWN };
}

/** Whether a request asks, without a token, what a page may send. */
export const isPreflight = (method: string | undefined, headers: IncomingHttpHeaders): boolean => method === "OPTIONS" && headers["access-control-request-method"] !== undefined;

export const preflightHeaders: Headers = { "access-control-allow-methods": METHODS, "access-control-allow-headers": ASKED, "access-control-max-age": MAX_AGE_S };
