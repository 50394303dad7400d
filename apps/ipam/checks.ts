// What subnets and the addresses of ports are made of, as callers say it. Whether pools and routes fit their subnet is api.ts's.
import {
  asList, badRequest, contains, invalidFor, invalidInput, isObject, makeCheck, normalizeIp, orNull, parseCidr, parseIp, show,
  type Check, type Cidr, type Convert, type Converter,
} from "#app";
import type { AllocationPool, HostRoute } from "./subnets.ts";

const uuid = makeCheck({ type: "uuid" });
const ip = makeCheck({ type: "ip" });
const strictCidr = makeCheck({ type: "strict-cidr" });

/** An object of exactly these two keys. */
const hasExactly = (item: unknown, a: string, b: string): item is Record<string, unknown> =>
  isObject(item) && Object.keys(item).length === 2 && Object.hasOwn(item, a) && Object.hasOwn(item, b);

const key = (check: Check): { readonly check: Check; readonly required: true } => ({ check, required: true });

// ---- addresses of ports ----

export interface FixedIp {
  readonly subnet_id?: string;
  readonly ip_address?: string;
}

/** `{subnet_id}`, `{ip_address}` or both in each; other keys are ignored. */
export const fixedIps: Convert = (value, attribute) => {
  const seen = new Set<string>();
  return asList(value, attribute).map((item): FixedIp => {
    if (!isObject(item)) throw invalidFor(attribute, `Invalid data format for fixed IP: '${show(item)}'`);
    const out: { subnet_id?: string; ip_address?: string } = {};
    if (item.subnet_id !== undefined) out.subnet_id = uuid(item.subnet_id, attribute) as string;
    if (item.ip_address !== undefined) {
      out.ip_address = ip(item.ip_address, attribute) as string;
      if (seen.has(out.ip_address)) throw invalidFor(attribute, `Duplicate IP address '${out.ip_address}'`);
      seen.add(out.ip_address);
    }
    if (out.subnet_id === undefined && out.ip_address === undefined) throw invalidInput("IP allocation requires subnet_id or ip_address");
    return out;
  });
};

// ---- subnets ----

/** Sorted by start; start <= end, one family. */
export const allocationPools: Convert = (value, attribute) =>
  asList(value, attribute)
    .map((item) => {
      if (!hasExactly(item, "start", "end")) throw invalidFor(attribute, `Invalid data format for IP pool: '${show(item)}'`);
      const pool: AllocationPool = { start: ip(item.start, attribute) as string, end: ip(item.end, attribute) as string };
      const start = parseIp(pool.start)!;
      const end = parseIp(pool.end)!;
      if (start.family !== end.family || start.value > end.value) {
        throw badRequest(`The allocation pool ${pool.start}-${pool.end} is not valid.`, "InvalidAllocationPool");
      }
      return { pool, start };
    })
    .sort((a, b) => (a.start.value < b.start.value ? -1 : a.start.value > b.start.value ? 1 : 0))
    .map(({ pool }) => pool);

const MAX_SERVICE_TYPES = 32;
/** What owners of ports begin with: whoever makes ports may have a prefix of its own. */
const SERVICE_TYPE = /^[A-Za-z0-9_.-]+:|^Octavia/;

/** Owners of ports, each once. null is none. */
export const serviceTypes: Convert = (value, attribute) => {
  if (value === null) return [];
  const list = asList(value, attribute, MAX_SERVICE_TYPES);
  for (const type of list) {
    if (typeof type !== "string") throw badRequest(`Subnet service type ${show(type)} is not a string.`, "InvalidInputSubnetServiceType");
    if (!SERVICE_TYPE.test(type) || type.length > 255) throw badRequest(`Subnet service type ${show(type)} does not correspond to a valid device owner.`, "InvalidSubnetServiceType");
  }
  return [...new Set(list)];
};

const MAX_NAMESERVERS = 5;
const MAX_HOST_ROUTES = 20;

/** At most 5 addresses, order kept, no doubles; null is none. */
export const nameservers: Convert = (value, attribute) => {
  if (value === null) return [];
  const items = asList(value, attribute).map((item) => {
    const text = typeof item === "string" ? normalizeIp(item) : undefined;
    if (text === undefined) throw invalidFor(attribute, `'${show(item)}' is not a valid nameserver`);
    return text;
  });
  const twice = items.find((item, i) => items.indexOf(item) !== i);
  if (twice !== undefined) throw invalidFor(attribute, `Duplicate nameserver '${twice}'`);
  if (items.length > MAX_NAMESERVERS) throw badRequest(`Unable to complete operation. The number of DNS nameservers exceeds the limit ${MAX_NAMESERVERS}.`, "DNSNameServersExhausted");
  return items;
};

const LOOPBACK: readonly Cidr[] = [parseCidr("127.0.0.0/8")!, parseCidr("::1/128")!];

/** `destination` without host bits and not loopback, `nexthop` of its family; at most 20, no doubles; null is none. */
export const hostRoutes: Convert = (value, attribute) => {
  if (value === null) return [];
  const seen = new Set<string>();
  const routes = asList(value, attribute).map((item): HostRoute => {
    if (!hasExactly(item, "destination", "nexthop")) throw invalidFor(attribute, `Invalid data format for hostroute: '${show(item)}'`);
    const destination = strictCidr(item.destination, attribute) as string;
    const nexthop = ip(item.nexthop, attribute) as string;
    const prefix = parseCidr(destination)!;
    if (LOOPBACK.some((l) => contains(l, prefix))) throw invalidFor(attribute, `'${destination}' is a loopback network`);
    if (parseIp(nexthop)!.family !== prefix.family) throw invalidFor(attribute, `nexthop '${nexthop}' is not of the family of '${destination}'`);
    const route = `${destination} ${nexthop}`;
    if (seen.has(route)) throw invalidFor(attribute, `Duplicate hostroute '${show(item)}'`);
    seen.add(route);
    return { destination, nexthop };
  });
  if (routes.length > MAX_HOST_ROUTES) throw badRequest(`Unable to complete operation. The number of host routes exceeds the limit ${MAX_HOST_ROUTES}.`, "HostRoutesExhausted");
  return routes;
};

export const converters: Readonly<Record<string, Converter>> = {
  "fixed-ips": { about: "addresses of a port", form: { list: { dict: { subnet_id: { check: { type: "uuid" } }, ip_address: { check: { type: "ip" } } } } }, run: fixedIps },
  "allocation-pools": { about: "ranges of addresses, sorted", form: { list: { dict: { start: key({ type: "ip" }), end: key({ type: "ip" }) } } }, run: allocationPools },
  nameservers: { about: "addresses of DNS servers, none twice", form: orNull({ list: { type: "ip" }, unique: true, max: MAX_NAMESERVERS }), run: nameservers },
  "subnet-service-types": { about: "owners of ports, each once", form: orNull({ list: { type: "string" }, max: MAX_SERVICE_TYPES }), run: serviceTypes },
  "host-routes": {
    about: "routes for hosts, none twice",
    form: orNull({ list: { dict: { destination: key({ type: "strict-cidr" }), nexthop: key({ type: "ip" }) } }, unique: true, max: MAX_HOST_ROUTES }),
    run: hostRoutes,
  },
};
