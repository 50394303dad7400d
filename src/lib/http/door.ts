// Who may ask at a listener that asks nobody who he is. On loopback that is programs of this machine; a browser on it is such a program, and
// runs what pages of anybody's say. Pages are known by what browsers put on requests and pages cannot change: Origin and Sec-Fetch-Site (Fetch),
// and Host, which is the page's own where a name of its was pointed at 127.0.0.1 (DNS rebinding).
import type { IncomingHttpHeaders } from "node:http";
import { isLoopbackName } from "../listening.ts";

export interface Door {
  /** What Host may say beside a name or address of loopback; undefined: anything, as the listener is not on loopback. */
  readonly hosts: ReadonlySet<string> | undefined;
  /** Pages of these origins may ask, beside those of the listener's own. */
  readonly origins: ReadonlySet<string>;
  /** A link of any page may lead a person here. */
  readonly links: boolean;
}

/** "net.example:9696" and "[::1]:9696" without the port; undefined for what is neither. */
function hostOf(header: string): string | undefined {
  const [, six, other] = /^(?:\[([0-9a-f:.]+)\]|([^:[\]/\s]+?)\.?)(?::\d{1,5})?$/.exec(header.toLowerCase()) ?? [];
  return six ?? other;
}

const shown = (text: string): string => JSON.stringify(text.slice(0, 100));

/** Why the request is refused, for whoever has to mend it; undefined: it is let in. */
export function refusedAtDoor(door: Door, method: string, headers: IncomingHttpHeaders): string | undefined {
  const { host, origin } = headers;
  if (door.hosts !== undefined && host !== undefined) {
    const name = hostOf(host);
    if (name === undefined || !(isLoopbackName(name) || door.hosts.has(name))) {
      return `The Host header says ${shown(host)}: a listener on loopback is asked by a name or address of loopback, or one of --allowed-hosts`;
    }
  }
  if (origin !== undefined) {
    if (door.origins.has(origin) || isOwn(origin, host)) return undefined;
    return `A web page of ${shown(origin)} may not use this listener; --cors-origins names pages that may use the tenant API`;
  }
  // What a page has fetched without asking for the answer (an image, a form's GET) bears no Origin.
  const site = headers["sec-fetch-site"];
  if (site === undefined || site === "same-origin" || site === "none") return undefined;
  if (door.links && (method === "GET" || method === "HEAD") && headers["sec-fetch-mode"] === "navigate" && headers["sec-fetch-dest"] === "document") return undefined;
  return "A web page of another origin may not use this listener";
}

/** Whether a page came from the very listener. */
function isOwn(origin: string, host: string | undefined): boolean {
  if (host === undefined || !URL.canParse(origin) || !URL.canParse(`http://${host}`)) return false;
  return new URL(origin).host === new URL(`http://${host}`).host;
}
