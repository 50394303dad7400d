// A path of v1 to what it names.
import { ApiError, badRequest } from "#app";
import { withoutSuffix } from "./format.ts";
import { NO_ROUTE } from "./faults.ts";

export interface Target {
  /** What the path names, its ids left out: "networks/detail", "network/ports", "port/attachment". */
  readonly route: string;
  /** "" where the route has none. */
  readonly tenant: string;
  readonly network: string;
  readonly port: string;
  readonly alias: string;
}

const NOTHING = { tenant: "", network: "", port: "", alias: "" } as const;

export const noRoute = (): Error => new ApiError(404, NO_ROUTE, "The resource could not be found.");

function segmentsOf(path: string): string[] {
  const segments = withoutSuffix(path.endsWith("/") ? path.slice(0, -1) : path).split("/").slice(1);
  try {
    return segments.map((s) => decodeURIComponent(s));
  } catch {
    throw badRequest("The path is not valid percent-encoded UTF-8");
  }
}

/** `path`: after the version. @throws ApiError of a path that leads nowhere */
export function targetOf(path: string): Target {
  const segments = segmentsOf(path);
  if (segments.includes("")) throw noRoute();
  const [first, second = "", networks, network = "", ports, port = "", last, ...rest] = segments;
  if (first === "extensions" && networks === undefined) return { ...NOTHING, route: second === "" ? "extensions" : "extension", alias: second };
  if (first !== "tenants" || networks !== "networks" || rest.length > 0) throw noRoute();
  const to = { ...NOTHING, tenant: second };
  if (network === "") return { ...to, route: "networks" };
  if (network === "detail" && ports === undefined) return { ...to, route: "networks/detail" };
  if (ports === undefined) return { ...to, network, route: "network" };
  if (ports === "detail" && port === "") return { ...to, network, route: "network/detail" };
  if (ports !== "ports") throw noRoute();
  if (port === "") return { ...to, network, route: "ports" };
  if (port === "detail" && last === undefined) return { ...to, network, route: "ports/detail" };
  if (last === undefined) return { ...to, network, port, route: "port" };
  if (last === "detail" || last === "attachment") return { ...to, network, port, route: `port/${last}` };
  throw noRoute();
}
