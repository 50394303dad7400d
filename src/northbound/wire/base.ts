// Where the API is, as a client sees it.
import type { IncomingHttpHeaders } from "node:http";

/** The first of several headers of one name. */
export const one = (header: string | string[] | undefined): string | undefined => (Array.isArray(header) ? header[0] : header);

/** Scheme, host and prefix as the client sees them. */
export function baseOf(headers: IncomingHttpHeaders, protocol: string): string {
  const scheme = one(headers["x-forwarded-proto"]) ?? protocol;
  const host = one(headers["x-forwarded-host"]) ?? headers.host ?? "localhost";
  const prefix = (one(headers["x-forwarded-prefix"]) ?? "").replace(/\/+$/, "");
  return `${scheme}://${host}${prefix}`;
}
