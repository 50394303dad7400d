// Validators and converters: what `check` of an attribute may be. Each takes the JSON value, returns the stored form and
// throws the refusal that Neutron's clients know. Checks that need other rows (is the address in the subnet?) are the app's.
import { ApiError, badRequest, invalidInput } from "./refusal.ts";
import type { Convert } from "./resource.ts";
import { contains, formatCidr, formatIp, normalizeIp, parseCidr, parseIp, type Cidr } from "../lib/address.ts";

export * from "../lib/address.ts";

/** 400 "Invalid input for <attribute>. Reason: <reason>." */
export const invalidFor = (attribute: string, reason: string): ApiError =>
  badRequest(`Invalid input for ${attribute}. Reason: ${reason}${reason.endsWith(".") ? "" : "."}`);

/** A value as it is quoted in a refusal: short, and safe for values of any depth. */
export function show(value: unknown, depth = 3): string {
  let text: string;
  if (typeof value === "string") text = value;
  else if (value === null || value === undefined) text = "None";
  else if (typeof value === "boolean") text = value ? "True" : "False";
  else if (typeof value === "number") text = String(value);
  else if (depth === 0) text = "...";
  else if (Array.isArray(value)) text = `[${value.slice(0, 10).map((v) => show(v, depth - 1)).join(", ")}${value.length > 10 ? ", ..." : ""}]`;
  else {
    const keys = Object.keys(value);
    text = `{${keys.slice(0, 10).map((k) => `${k}: ${show((value as Record<string, unknown>)[k], depth - 1)}`).join(", ")}${keys.length > 10 ? ", ..." : ""}}`;
  }
  return text.length > 300 ? `${text.slice(0, 300)}...` : text;
}

export const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

/** Length in characters, not UTF-16 units. */
const characters = (text: string): number => {
  let n = 0;
  for (let i = 0; i < text.length; i += text.codePointAt(i)! > 0xffff ? 2 : 1) n++;
  return n;
};

// ---- scalars ----

/** A JSON string of at most `max` characters. */
export const string =
  (max = 255): Convert =>
  (value, attribute) => {
    if (typeof value !== "string") throw invalidFor(attribute, `'${show(value)}' is not a valid string`);
    if (value.length > max && characters(value) > max) throw invalidFor(attribute, `'${show(value)}' exceeds maximum length of ${max}`);
    return value;
  };

/** Names and descriptions of the standard attributes. */
export const name: Convert = string(255);
export const description: Convert = string(255);

/** Like `string`, but not empty or blank. */
export const nonEmptyString = (max = 255): Convert => {
  const check = string(max);
  return (value, attribute) => {
    const text = check(value, attribute) as string;
    if (text.trim() === "") throw invalidFor(attribute, `'${text}' Blank strings are not permitted`);
    return text;
  };
};

/** A string that the whole of `pattern` matches; `what` ends the sentence "'x' is not ...". */
export const matching = (pattern: RegExp, what: string, max = 255): Convert => {
  const check = string(max);
  const whole = new RegExp(`^(?:${pattern.source})$`, pattern.flags.replace("g", ""));
  return (value, attribute) => {
    const text = check(value, attribute) as string;
    if (!whole.test(text)) throw invalidFor(attribute, `'${show(text)}' is not ${what}`);
    return text;
  };
};

const TRUE = new Set(["true", "yes", "on", "t", "y", "1"]);
const FALSE = new Set(["false", "no", "off", "f", "n", "0"]);

/** JSON booleans, 1 and 0, and the usual words in any case. */
export const boolean: Convert = (value) => {
  if (typeof value === "boolean") return value;
  if (value === 1 || value === 0) return value === 1;
  if (typeof value === "string") {
    const word = value.toLowerCase();
    if (TRUE.has(word)) return true;
    if (FALSE.has(word)) return false;
  }
  throw invalidInput(`'${show(value)}' cannot be converted to boolean`);
};

/** An integer or a string of digits. */
export const integer =
  (min: number = Number.MIN_SAFE_INTEGER, max: number = Number.MAX_SAFE_INTEGER): Convert =>
  (value, attribute) => {
    const n = typeof value === "number" ? value : typeof value === "string" && /^[+-]?\d{1,16}$/.test(value) ? Number(value) : NaN;
    if (!Number.isSafeInteger(n)) throw invalidInput(`'${show(value)}' is not an integer`);
    if (n < min) throw invalidFor(attribute, `'${n}' is too small - must be at least '${min}'`);
    if (n > max) throw invalidFor(attribute, `'${n}' is too large - must be no larger than '${max}'`);
    return n + 0; // no -0
  };

export const nonNegative: Convert = integer(0, 0x7fffffff);

const list = (values: readonly unknown[]): string => `[${values.map((v) => (typeof v === "string" ? `'${v}'` : show(v))).join(", ")}]`;

/** One of these strings, numbers (digits in a string do as well) or null. */
export const oneOf = (...values: readonly (string | number | null)[]): Convert => {
  const known = new Map<unknown, string | number | null>(values.map((v) => [v, v]));
  for (const v of values) if (typeof v === "number" && !known.has(String(v))) known.set(String(v), v);
  const text = list(values);
  return (value, attribute) => {
    const found = known.get(value);
    if (found === undefined) throw invalidFor(attribute, `'${show(value)}' is not in ${text}`);
    return found;
  };
};

/** Any letter case; stored as spelled here. */
export const oneOfIgnoringCase = (...values: readonly string[]): Convert => {
  const known = new Map(values.map((v) => [v.toLowerCase(), v]));
  return (value, attribute) => {
    const found = typeof value === "string" ? known.get(value.toLowerCase()) : undefined;
    if (found === undefined) throw invalidFor(attribute, `'${show(value)}' is not in ${list(values)}`);
    return found;
  };
};

/** null passes as it is. */
export const orNull =
  (check: Convert): Convert =>
  (value, attribute) =>
    value === null ? null : check(value, attribute);

/** null stands for this value. */
export const nullAs =
  (instead: unknown, check: Convert): Convert =>
  (value, attribute) =>
    value === null ? instead : check(value, attribute);

/** The first check, then `then` on what it returned. */
export const both =
  (first: Convert, then: Convert): Convert =>
  (value, attribute) =>
    then(first(value, attribute), attribute);

// ---- identifiers ----

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const UUID_DIGITS = /^[0-9a-f]{32}$/;

/** Canonical form of a UUID in any case, with or without dashes; undefined if it is none. */
export function parseUuid(value: unknown): string | undefined {
  if (typeof value !== "string" || value.length > 36) return undefined;
  if (UUID.test(value)) return value;
  const hex = value.toLowerCase().replaceAll("-", "");
  if (!UUID_DIGITS.test(hex)) return undefined;
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export const uuid: Convert = (value, attribute) => {
  const id = parseUuid(value);
  if (id === undefined) throw invalidFor(attribute, `'${show(value)}' is not a valid UUID`);
  return id;
};

export const uuidOrNull: Convert = orNull(uuid);

// ---- addresses ----

/** Canonical text (RFC 5952 for IPv6). */
export const ip: Convert = (value, attribute) => {
  const text = typeof value === "string" ? normalizeIp(value) : undefined;
  if (text === undefined) throw invalidFor(attribute, `'${show(value)}' is not a valid IP address`);
  return text;
};

export const ipOrNull: Convert = orNull(ip);

/** A prefix as its network address: 10.0.0.5/24 is 10.0.0.0/24, 10.0.0.5 is 10.0.0.5/32, 10.0.0.0/255.255.255.0 is a /24. */
export const cidr: Convert = (value, attribute) => {
  const c = typeof value === "string" ? parseCidr(value) : undefined;
  if (c === undefined) throw invalidFor(attribute, `'${show(value)}' is not a valid IP subnet`);
  return formatCidr(c);
};

export const cidrOrNull: Convert = orNull(cidr);

/** A prefix in canonical form only: with a length and without host bits. */
export const strictCidr: Convert = (value, attribute) => {
  const c = typeof value === "string" && value.includes("/") ? parseCidr(value) : undefined;
  if (c === undefined) throw invalidFor(attribute, `'${show(value)}' is not a valid IP subnet`);
  if (c.address !== c.network) throw invalidFor(attribute, `'${show(value)}' isn't a recognized IP subnet cidr, '${formatCidr(c)}' is recommended`);
  return formatCidr(c);
};

/** An address, or a prefix with host bits kept. Bare addresses stay bare. */
export const ipOrCidr: Convert = (value, attribute) => {
  const c = typeof value === "string" ? parseCidr(value) : undefined;
  if (c === undefined) throw invalidFor(attribute, `'${show(value)}' is not a valid IP address or subnet`);
  const address = formatIp({ family: c.family, value: c.address });
  return (value as string).includes("/") ? `${address}/${c.prefix}` : address;
};

const MAC_COLON = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/;
const MAC_FORMS = [/^[0-9a-f]{1,2}(?::[0-9a-f]{1,2}){5}$/, /^[0-9a-f]{1,2}(?:-[0-9a-f]{1,2}){5}$/, /^[0-9a-f]{4}(?:\.[0-9a-f]{4}){2}$/, /^[0-9a-f]{12}$/];

/** `fa:16:3e:00:00:01` from any usual EUI-48 notation; undefined if it is none. */
export function parseMac(value: unknown): string | undefined {
  if (typeof value !== "string" || value.length > 17) return undefined;
  const text = value.toLowerCase();
  if (MAC_COLON.test(text)) return text;
  const form = MAC_FORMS.findIndex((f) => f.test(text));
  if (form < 0) return undefined;
  const hex = form < 2 ? text.split(/[:-]/).map((o) => o.padStart(2, "0")).join("") : text.replaceAll(".", "");
  return hex.match(/../g)!.join(":");
}

/** A unicast address other than all zeros, as lower case with colons. */
export const mac: Convert = (value, attribute) => {
  const text = parseMac(value);
  if (text === undefined || text === "00:00:00:00:00:00" || (parseInt(text.slice(0, 2), 16) & 1) !== 0) {
    throw invalidFor(attribute, `'${show(value)}' is not a valid MAC address`);
  }
  return text;
};

// ---- lists and objects ----

/** Longest list an attribute takes; the body limit is the real bound. */
const MAX_ITEMS = 10_000;

function asList(value: unknown, attribute: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalidFor(attribute, `'${show(value)}' is not a list`);
  if (value.length > MAX_ITEMS) throw invalidFor(attribute, `more than ${MAX_ITEMS} items`);
  return value as readonly unknown[];
}

export const listOf =
  (check: Convert): Convert =>
  (value, attribute) =>
    asList(value, attribute).map((item) => check(item, attribute));

/** A list without doubles after conversion. */
export const uniqueListOf = (check: Convert): Convert => {
  const all = listOf(check);
  return (value, attribute) => {
    const items = all(value, attribute) as readonly unknown[];
    const seen = new Set<unknown>();
    for (const item of items) {
      const key = typeof item === "object" ? JSON.stringify(item) : item;
      if (seen.has(key)) throw invalidFor(attribute, `Duplicate items in the list: '${items.map((i) => show(i)).slice(0, 10).join(", ")}'`);
      seen.add(key);
    }
    return items;
  };
};

/** null is the empty list. */
export const uuidList: Convert = nullAs([], uniqueListOf(uuid));
export const uniqueStrings = (max = 255): Convert => uniqueListOf(string(max));

/** Nesting of objects and lists an attribute of free form may have. */
const MAX_DEPTH = 16;

/** Whether the value nests deeper than `limit`. Does not recurse further than that. */
export function deeperThan(value: unknown, limit: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (limit === 0) return true;
  for (const key of Object.keys(value)) if (deeperThan((value as Record<string, unknown>)[key], limit - 1)) return true;
  return false;
}

/** A free-form JSON object. */
export const object: Convert = (value, attribute) => {
  if (!isObject(value)) throw invalidFor(attribute, `'${show(value)}' is not a dictionary`);
  if (deeperThan(value, MAX_DEPTH)) throw invalidFor(attribute, `nested deeper than ${MAX_DEPTH} levels`);
  return value;
};

export const objectOrNull: Convert = orNull(object);

export interface Key {
  readonly check: Convert;
  readonly required?: boolean;
  /** Value when absent; without it the key stays absent. */
  readonly default?: unknown;
}

/** An object with these keys and no others. */
export const objectOf =
  (keys: Readonly<Record<string, Key>>): Convert =>
  (value, attribute) => {
    if (!isObject(value)) throw invalidFor(attribute, `'${show(value)}' is not a dictionary`);
    const unknown = Object.keys(value).filter((k) => !Object.hasOwn(keys, k));
    const missing = Object.keys(keys).filter((k) => keys[k]!.required === true && !Object.hasOwn(value, k));
    if (unknown.length > 0 || missing.length > 0) {
      throw invalidFor(attribute, `Validation of dictionary's keys failed. Expected keys: ${list(Object.keys(keys))} Provided keys: ${list(Object.keys(value).slice(0, 20).map((k) => show(k)))}`);
    }
    const out: Record<string, unknown> = {};
    for (const [key, spec] of Object.entries(keys)) {
      if (Object.hasOwn(value, key)) out[key] = spec.check(value[key], `${attribute}.${key}`);
      else if (spec.default !== undefined) out[key] = spec.default;
    }
    return out;
  };

// ---- what subnets and ports are made of ----

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

export interface AllocationPool {
  readonly start: string;
  readonly end: string;
}

const hasExactly = (item: unknown, a: string, b: string): item is Record<string, unknown> =>
  isObject(item) && Object.keys(item).length === 2 && Object.hasOwn(item, a) && Object.hasOwn(item, b);

/** Sorted by start; start <= end, one family. Whether they fit the subnet and each other is the subnet's to check. */
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

const MAX_NAMESERVERS = 5;
const MAX_HOST_ROUTES = 20;
const MAX_ADDRESS_PAIRS = 10;

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

export interface HostRoute {
  readonly destination: string;
  readonly nexthop: string;
}

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
    const key = `${destination} ${nexthop}`;
    if (seen.has(key)) throw invalidFor(attribute, `Duplicate hostroute '${show(item)}'`);
    seen.add(key);
    return { destination, nexthop };
  });
  if (routes.length > MAX_HOST_ROUTES) throw badRequest(`Unable to complete operation. The number of host routes exceeds the limit ${MAX_HOST_ROUTES}.`, "HostRoutesExhausted");
  return routes;
};

export interface AddressPair {
  readonly ip_address: string;
  readonly mac_address?: string;
}

/** At most 10 `{ip_address: address or prefix, mac_address?}`; the port's own MAC is the default, filled in by the app. */
export const addressPairs: Convert = (value, attribute) => {
  const items = value === null ? [] : asList(value, attribute);
  if (items.length > MAX_ADDRESS_PAIRS) throw badRequest(`The number of allowed address pair exceeds the maximum ${MAX_ADDRESS_PAIRS}.`, "AllowedAddressPairExhausted");
  const seen = new Set<string>();
  return items.map((item): AddressPair => {
    if (!isObject(item)) throw invalidFor(attribute, `'${show(item)}' is not a dictionary`);
    const unknown = Object.keys(item).filter((k) => k !== "ip_address" && k !== "mac_address");
    if (unknown.length > 0) throw invalidFor(attribute, `Unrecognized attribute(s) '${show(unknown.join(", "))}'`);
    if (item.ip_address === undefined) throw badRequest("AllowedAddressPair must contain ip_address", "AllowedAddressPairsMissingIP");
    const pair: { ip_address: string; mac_address?: string } = { ip_address: ipOrCidr(item.ip_address, attribute) as string };
    if (item.mac_address !== undefined && item.mac_address !== null) pair.mac_address = mac(item.mac_address, attribute) as string;
    const key = `${pair.ip_address} ${pair.mac_address ?? ""}`;
    if (seen.has(key)) throw badRequest(`Request contains duplicate address pair: mac_address ${pair.mac_address ?? "None"} ip_address ${pair.ip_address}.`, "DuplicateAddressPairInRequest");
    seen.add(key);
    return pair;
  });
};
