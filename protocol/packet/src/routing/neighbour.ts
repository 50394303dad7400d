// Neighbour discovery (RFC 4861): the bodies of its five messages, that is what follows the ICMPv6 checksum. Two views of
// one thing: `ndForms` with options in their order, for rebuilding, and functions with options gathered into fields, for
// asking and answering. A link-layer address that is not 6 bytes long is no field, and neither is a second one: it lands in `unknown`.

import { ipv6, reserved, struct, u16, u32, u8 } from "../wire/form.ts";
import type { Form } from "../wire/form.ts";
import { ndOptions, readPreference, writePreference } from "./nd-options.ts";
import type { Dnssl, NdOption, Pref64, PrefixInformation, RouteInformation, RouterPreference } from "./nd-options.ts";
import { Reader } from "../wire/reader.ts";

/** A lifetime of 0xffffffff seconds means forever. */
export const infiniteLifetimeS = 0xffffffff;

export interface Rdnss {
  lifetime_s: number;
  servers: string[];
}

/** Options as read: the first of those that make sense once, all of the others. A second link-layer address is in `unknown`: nobody says which counts. */
export interface NeighbourOptions {
  source_lladdr?: string;
  target_lladdr?: string;
  mtu?: number;
  /** RFC 3971 5.3.2, RFC 7527 */
  nonce?: Uint8Array;
  /** The URI of RFC 8910. */
  captive_portal?: string;
  /** RFC 4191; present when there are any, as the next. */
  routes?: RouteInformation[];
  pref64?: Pref64[];
  prefixes: PrefixInformation[];
  rdnss: Rdnss[];
  dnssl: Dnssl[];
  /** Options without a field here. */
  unknown: { type: number; data: Uint8Array }[];
}

export interface RouterAdvertisementFields {
  /** 0 = unspecified. */
  cur_hop_limit: number;
  managed: boolean;
  other: boolean;
  /** 0 = not a default router. At most 65535. */
  router_lifetime_s: number;
  /** 0 = unspecified. */
  reachable_ms: number;
  /** 0 = unspecified. */
  retrans_ms: number;
  /** RFC 4191; present when it is not medium. */
  preference?: RouterPreference;
  /** Mobile IPv6's home agent flag; present when set. */
  home_agent?: boolean;
  /** RFC 4389; present when set. */
  proxy?: boolean;
}

/** What to advertise. Absent fixed fields are 0 or false, absent options are left out. */
export interface RouterAdvertisementInput extends Partial<RouterAdvertisementFields> {
  source_lladdr?: string;
  mtu?: number;
  captive_portal?: string;
  prefixes?: PrefixInformation[];
  routes?: RouteInformation[];
  pref64?: Pref64[];
  rdnss?: Rdnss | Rdnss[];
  dnssl?: Dnssl | Dnssl[];
  unknown?: { type: number; data: Uint8Array }[];
}

export interface RouterAdvertisement extends RouterAdvertisementFields, NeighbourOptions {}

export type RouterSolicitation = NeighbourOptions;

export interface NeighbourSolicitation extends NeighbourOptions {
  target: string;
}

export interface NeighbourAdvertisement extends NeighbourOptions {
  target: string;
  router: boolean;
  solicited: boolean;
  override: boolean;
}

export interface Redirect extends NeighbourOptions {
  /** The better first hop; equal to `destination` when that is a neighbour. */
  target: string;
  destination: string;
  /** The beginning of the packet that was redirected. */
  redirected?: Uint8Array;
}

const raFlags: Form<Pick<RouterAdvertisementFields, "managed" | "other" | "home_agent" | "preference" | "proxy">> = {
  read: (reader) => {
    const flags = reader.u8();
    const preference = readPreference(flags);
    return {
      managed: (flags & 0x80) !== 0, other: (flags & 0x40) !== 0, ...((flags & 0x20) !== 0 && { home_agent: true }),
      ...(preference !== "medium" && { preference }), ...((flags & 0x04) !== 0 && { proxy: true }),
    };
  },
  write: ({ managed, other, home_agent = false, preference = "medium", proxy = false }) => Buffer.of(
    (managed ? 0x80 : 0) | (other ? 0x40 : 0) | (home_agent ? 0x20 : 0) | writePreference(preference) | (proxy ? 0x04 : 0),
  ),
};

const naFlags: Form<Pick<NeighbourAdvertisement, "router" | "solicited" | "override">> = {
  read: (reader) => {
    const flags = reader.u8();
    return { router: (flags & 0x80) !== 0, solicited: (flags & 0x40) !== 0, override: (flags & 0x20) !== 0 };
  },
  write: ({ router, solicited, override }) => Buffer.of((router ? 0x80 : 0) | (solicited ? 0x40 : 0) | (override ? 0x20 : 0)),
};

/** Bodies with their options as an ordered list. */
export const ndForms = {
  routerSolicitation: struct({ _reserved: reserved(4), options: ndOptions }),
  routerAdvertisement: struct({
    cur_hop_limit: u8, flags: raFlags, router_lifetime_s: u16, reachable_ms: u32, retrans_ms: u32, options: ndOptions,
  }),
  neighbourSolicitation: struct({ _reserved: reserved(4), target: ipv6, options: ndOptions }),
  neighbourAdvertisement: struct({ flags: naFlags, _reserved: reserved(3), target: ipv6, options: ndOptions }),
  redirect: struct({ _reserved: reserved(4), target: ipv6, destination: ipv6, options: ndOptions }),
  inverseSolicitation: struct({ _reserved: reserved(4), options: ndOptions }),
  inverseAdvertisement: struct({ _reserved: reserved(4), options: ndOptions }),
} as const;

function parse<T>(form: Form<T>, body: Uint8Array): T {
  return form.read(new Reader(body));
}

const macLength = "00:00:00:00:00:00".length;

function gather(list: readonly NdOption[]): NeighbourOptions & Pick<Redirect, "redirected"> {
  const gathered: NeighbourOptions & Pick<Redirect, "redirected"> = { prefixes: [], rdnss: [], dnssl: [], unknown: [] };
  for (const item of list) {
    const { option, value } = item;
    if (option === "sourceLladdr" && value.length === macLength && gathered.source_lladdr === undefined) gathered.source_lladdr = value;
    else if (option === "targetLladdr" && value.length === macLength && gathered.target_lladdr === undefined) gathered.target_lladdr = value;
    else if (option === "mtu") gathered.mtu ??= value.mtu;
    else if (option === "nonce") gathered.nonce ??= value;
    else if (option === "captivePortal") gathered.captive_portal ??= value;
    else if (option === "prefixInformation") gathered.prefixes.push(value);
    else if (option === "routeInformation") (gathered.routes ??= []).push(value);
    else if (option === "pref64") (gathered.pref64 ??= []).push(value);
    else if (option === "rdnss") gathered.rdnss.push(value);
    else if (option === "dnssl") gathered.dnssl.push(value);
    else if (option === "redirectedHeader") gathered.redirected ??= value.original;
    else gathered.unknown.push(asBytes(item));
  }
  return gathered;
}

function asBytes(item: NdOption): { type: number; data: Buffer } {
  const written = Buffer.from(ndOptions.write([item]));
  return { type: written[0]!, data: written.subarray(2) };
}

function spread(unknown: readonly { type: number; data: Uint8Array }[] = []): NdOption[] {
  return unknown.map(({ type, data }) => ({ option: type, value: data }));
}

function lladdr(option: "sourceLladdr" | "targetLladdr", mac: string | undefined): NdOption[] {
  return mac === undefined ? [] : [{ option, value: mac }];
}

function nonceOption(nonce: Uint8Array | undefined): NdOption[] {
  return nonce === undefined ? [] : [{ option: "nonce", value: nonce }];
}

function list<T extends object>(value: T | T[] | undefined): T[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

function written<T>(form: Form<T>, value: T): Buffer {
  const bytes = form.write(value);
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes);
}

/** The body for `buildIcmpv6({ type: 134, code: 0 }, ...)`. @throws RangeError. RFC 4861 4.2, RFC 8106 5 */
export function buildRouterAdvertisement(input: RouterAdvertisementInput): Buffer {
  const { cur_hop_limit = 0, managed = false, other = false, router_lifetime_s = 0, reachable_ms = 0, retrans_ms = 0 } = input;
  const { home_agent = false, preference = "medium", proxy = false } = input;
  const options: NdOption[] = [
    ...lladdr("sourceLladdr", input.source_lladdr),
    ...(input.mtu === undefined ? [] : [{ option: "mtu", value: { mtu: input.mtu } } as const]),
    ...(input.prefixes ?? []).map((value) => ({ option: "prefixInformation", value }) as const),
    ...(input.routes ?? []).map((value) => ({ option: "routeInformation", value }) as const),
    // An empty list has no wire form: both options need at least one entry.
    ...list(input.rdnss).filter((entry) => entry.servers.length > 0).map((value) => ({ option: "rdnss", value }) as const),
    ...list(input.dnssl).filter((entry) => entry.domains.length > 0).map((value) => ({ option: "dnssl", value }) as const),
    ...(input.captive_portal === undefined ? [] : [{ option: "captivePortal", value: input.captive_portal } as const]),
    ...(input.pref64 ?? []).map((value) => ({ option: "pref64", value }) as const),
    ...spread(input.unknown),
  ];
  return written(ndForms.routerAdvertisement, {
    cur_hop_limit, flags: { managed, other, home_agent, preference, proxy }, router_lifetime_s, reachable_ms, retrans_ms, options,
  });
}

/** `body` is `icmpv6.payload`. @throws PacketError */
export function parseRouterAdvertisement(body: Uint8Array): RouterAdvertisement {
  const { flags, options, ...fields } = parse(ndForms.routerAdvertisement, body);
  return { ...fields, ...flags, ...gather(options) };
}

/** The body for type 133. @throws RangeError */
export function buildRouterSolicitation(input: { source_lladdr?: string; unknown?: NeighbourOptions["unknown"] } = {}): Buffer {
  return written(ndForms.routerSolicitation, { options: [...lladdr("sourceLladdr", input.source_lladdr), ...spread(input.unknown)] });
}

/** `body` is `icmpv6.payload`. @throws PacketError */
export function parseRouterSolicitation(body: Uint8Array): RouterSolicitation {
  return gather(parse(ndForms.routerSolicitation, body).options);
}

export interface NeighbourSolicitationInput {
  target: string;
  source_lladdr?: string;
  /** 6 bytes and a multiple of 8 more. */
  nonce?: Uint8Array;
  unknown?: NeighbourOptions["unknown"];
}

/** The body for type 135. @throws RangeError */
export function buildNeighbourSolicitation(input: NeighbourSolicitationInput): Buffer {
  const options = [...lladdr("sourceLladdr", input.source_lladdr), ...nonceOption(input.nonce), ...spread(input.unknown)];
  return written(ndForms.neighbourSolicitation, { target: input.target, options });
}

/** `body` is `icmpv6.payload`. @throws PacketError */
export function parseNeighbourSolicitation(body: Uint8Array): NeighbourSolicitation {
  const { target, options } = parse(ndForms.neighbourSolicitation, body);
  return { target, ...gather(options) };
}

export interface NeighbourAdvertisementInput {
  target: string;
  target_lladdr?: string;
  router?: boolean;
  solicited?: boolean;
  override?: boolean;
  nonce?: Uint8Array;
  unknown?: NeighbourOptions["unknown"];
}

/** The body for type 136. Absent flags are false. @throws RangeError */
export function buildNeighbourAdvertisement(input: NeighbourAdvertisementInput): Buffer {
  const { target, router = false, solicited = false, override = false } = input;
  const options = [...lladdr("targetLladdr", input.target_lladdr), ...nonceOption(input.nonce), ...spread(input.unknown)];
  return written(ndForms.neighbourAdvertisement, { flags: { router, solicited, override }, target, options });
}

/** `body` is `icmpv6.payload`. @throws PacketError */
export function parseNeighbourAdvertisement(body: Uint8Array): NeighbourAdvertisement {
  const { flags, target, options } = parse(ndForms.neighbourAdvertisement, body);
  return { target, ...flags, ...gather(options) };
}

export interface RedirectInput {
  target: string;
  destination: string;
  target_lladdr?: string;
  /** The packet to redirect, from its IPv6 header on; as much of it is quoted as fits 1280 bytes. */
  redirected?: Uint8Array;
  unknown?: NeighbourOptions["unknown"];
}

/** Without the IPv6 header (40), the message's own fields (40) and an option for a link-layer address (8). RFC 4861 4.6.3 */
const redirectedMax = 1280 - 40 - 40 - 8 - 8;

/** The body for type 137. The quoted packet is filled up with zeros to a multiple of 8. @throws RangeError */
export function buildRedirect(input: RedirectInput): Buffer {
  const { target, destination, redirected } = input;
  const header: NdOption[] = redirected === undefined ? [] : [{ option: "redirectedHeader", value: { original: redirected.subarray(0, redirectedMax) } }];
  const options = [...lladdr("targetLladdr", input.target_lladdr), ...header, ...spread(input.unknown)];
  return written(ndForms.redirect, { target, destination, options });
}

/** `body` is `icmpv6.payload`. @throws PacketError */
export function parseRedirect(body: Uint8Array): Redirect {
  const { target, destination, options } = parse(ndForms.redirect, body);
  return { target, destination, ...gather(options) };
}


