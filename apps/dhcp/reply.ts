// A DHCPv4 message and what the model says of its sender in, the reply out (RFC 2131 section 4.3). There are no leases to
// keep: a port's addresses are its own as long as it has them, so every server state follows from the message alone.
import { contains, formatIp, lastIp, parseCidr, parseIp, type Cidr } from "#app";
import {
  decodeDhcpOption, dhcpMessageType, dhcpMessageTypes, dhcpOps, dhcpOptions, dhcpOverloadSizes, encodeClasslessRoutes, encodeDhcpOption, numberToIpv4, wantsBroadcast,
  type ClasslessRoute, type DhcpInput, type DhcpMessage,
} from "packet-codec";
import type { HostRoute } from "../ipam/model.ts";
import { BROADCAST, SERVER_ADDRESS } from "./model.ts";
import { optionsOfIpv4, SIADDR } from "./options.ts";
import { extraOptions, type DhcpOpt } from "./port-options.ts";

const FOREVER_S = 0xffffffff;
const ANY = "0.0.0.0";
const DEFAULT_ROUTE = "0.0.0.0/0";
/** A datagram every client takes; larger ones only if it says so (option 57). RFC 2131 section 2 */
const SIZE_MIN = 576;
/** IPv4, UDP, the fixed part of the message, the end option. */
const FIXED_BYTES = 20 + 8 + 240 + 1;
/** Option 52, where options go into `file` or `sname` as well. RFC 2132 section 9.3 */
const OVERLOAD_BYTES = 3;
const BROADCAST_FLAG = 0x8000;
const SNAME_MAX = 63;
const FILE_MAX = 127;

const type = dhcpMessageTypes;
const code = {
  mask: dhcpOptions.netmask.code, router: dhcpOptions.router.code, dns: dhcpOptions["dns-server"].code, mtu: dhcpOptions.mtu.code,
  broadcast: dhcpOptions.broadcast.code, requested: dhcpOptions["requested-address"].code, lease: dhcpOptions["lease-time"].code,
  type: dhcpOptions["message-type"].code, server: dhcpOptions["server-identifier"].code, list: dhcpOptions["parameter-request"].code,
  hostName: dhcpOptions.hostname.code, domain: dhcpOptions["domain-name"].code,
  message: dhcpOptions.message.code, maxSize: dhcpOptions["max-message-size"].code, t1: dhcpOptions.T1.code, t2: dhcpOptions.T2.code,
  clientId: dhcpOptions["client-id"].code, tftp: dhcpOptions["tftp-server"].code, bootfile: dhcpOptions["bootfile-name"].code,
  userClass: dhcpOptions["user-class"].code, routes: dhcpOptions["classless-static-route"].code, msRoutes: dhcpOptions["ms-classless-static-route"].code,
  rapidCommit: dhcpOptions["rapid-commit"].code, agent: dhcpOptions["agent-info"].code,
  /** iPXE's own encapsulated options: whoever sends them is iPXE. */
  ipxe: 175,
} as const;

/** An address the client may have, and what comes with it. */
export interface Lease {
  readonly address: string;
  readonly cidr: string;
  readonly gateway: string | null;
  readonly dns: readonly string[];
  readonly routes: readonly HostRoute[];
  readonly domain?: string | undefined;
}

export interface Client {
  readonly mac: string;
  readonly mtu: number;
  readonly leaseS: number;
  /** At least one; the first is offered. */
  readonly leases: readonly [Lease, ...Lease[]];
  readonly hostName?: string | undefined;
  readonly options: readonly DhcpOpt[];
  /** The relay agent that asks for it, if one does. */
  readonly relay?: Relay | undefined;
}

export interface Relay {
  /** As which address it asks the server. */
  readonly server: string;
  /** As which its clients shall know the server. RFC 5107 */
  readonly override: string | undefined;
}

export interface Reply {
  readonly message: DhcpInput;
  /** Address it is sent from: the server identifier, or as which the relay asked. */
  readonly from: string;
  /** Address it is sent to: a relay's, or its client's; the limited broadcast address also as a MAC. */
  readonly to: string;
  /** Options the client's maximum message size leaves no room for. */
  readonly omitted: readonly number[];
}

/** Nothing is sent; `ignored` says why. `declined`: an address of the port's that somebody else uses, as its machine says. */
export interface Silence {
  readonly ignored: string;
  readonly declined?: string;
}

/** @throws PacketError when an option that matters is malformed. */
export function answer(request: DhcpMessage, client: Client): Reply | Silence {
  if (request.op !== dhcpOps.request) return { ignored: "not a request" };
  if (request.chaddr !== client.mac) return { ignored: "for another MAC than the port's" };
  if ((request.giaddr === ANY) !== (client.relay === undefined)) return { ignored: "came through a relay" };
  const asked = addressOption(request, code.requested);
  const [first] = client.leases;
  switch (dhcpMessageType(request)) {
    case type.discover:
      // Nobody else may give it another address, so a client that can skip the offer does. RFC 4039
      return configure(request.options.has(code.rapidCommit) ? type.ack : type.offer, leaseOf(client, asked) ?? first, request, client);
    case type.request:
      return onRequest(request, asked, client);
    case type.inform:
      return configure(type.ack, leaseOf(client, request.ciaddr) ?? first, request, client);
    case type.decline:
      return leaseOf(client, asked) === undefined || !isChosen(request, client) ? { ignored: "declines what it was not given here" } : { ignored: "declined: somebody else uses the address", declined: asked! };
    case type.release:
      return { ignored: "released: the port keeps its address" };
    default:
      return { ignored: "unknown message type" };
  }
}

/** The states a client may be in, RFC 2131 section 4.3.2. */
function onRequest(request: DhcpMessage, asked: string | undefined, client: Client): Reply | Silence {
  const current = request.ciaddr === ANY ? undefined : request.ciaddr;
  if (!isChosen(request, client)) return { ignored: "another server was chosen" };
  // Selecting and init-reboot name the address in option 50, renewing and rebinding in ciaddr.
  const wanted = asked ?? current;
  if (wanted === undefined) return { ignored: "request for no address" };
  const lease = leaseOf(client, wanted);
  return lease === undefined ? refuse(request, client.leases[0], client) : configure(type.ack, lease, request, client);
}

const addressOption = (request: DhcpMessage, option: number): string | undefined => {
  const data = request.options.get(option);
  return data === undefined ? undefined : decodeDhcpOption(dhcpOptions["requested-address"].code, data);
};
const leaseOf = (client: Client, address: string | undefined): Lease | undefined => client.leases.find((l) => l.address === address);
const serverId = (lease: Lease, { relay }: Client): string => relay?.override ?? lease.gateway ?? SERVER_ADDRESS;
/** Whether a message names this server, or none. */
function isChosen(request: DhcpMessage, client: Client): boolean {
  const chosen = addressOption(request, code.server);
  return chosen === undefined || client.leases.some((l) => serverId(l, client) === chosen);
}

const address = (...ips: readonly string[]): Buffer => encodeDhcpOption(code.router, ips.join(","));
const seconds = (value: number): Buffer => encodeDhcpOption(code.lease, String(value));

/** What replies have in common. RFC 6842: the client's identifier comes back. */
function base(request: DhcpMessage, messageType: number, lease: Lease, client: Client): { header: Omit<DhcpInput, "options">; options: Map<number, Uint8Array> } {
  const options = new Map<number, Uint8Array>([
    [code.type, Buffer.of(messageType)],
    [code.server, address(serverId(lease, client))],
  ]);
  const id = request.options.get(code.clientId);
  if (id !== undefined) options.set(code.clientId, id);
  const header = { op: dhcpOps.reply, htype: request.htype, xid: request.xid, flags: request.flags, chaddr: request.chaddr };
  return { header: client.relay === undefined ? header : { ...header, hops: request.hops, giaddr: request.giaddr }, options };
}
/** RFC 2131 section 4.1: by the relay agent, if one asks. */
const ways = (request: DhcpMessage, lease: Lease, client: Client, direct: string): Pick<Reply, "from" | "to"> =>
  client.relay === undefined ? { from: serverId(lease, client), to: direct } : { from: client.relay.server, to: request.giaddr };

function refuse(request: DhcpMessage, lease: Lease, client: Client): Reply {
  const { header, options } = base(request, type.nak, lease, client);
  options.set(code.message, Buffer.from("not an address of this port"));
  const agent = request.options.get(code.agent);
  if (agent !== undefined) options.set(code.agent, agent);
  // A relay is told to broadcast it: its client's address is not one to send it to. RFC 2131 section 4.3.2
  const flags = client.relay === undefined ? request.flags : request.flags | BROADCAST_FLAG;
  return { message: { ...header, flags, options }, ...ways(request, lease, client, BROADCAST), omitted: [] };
}

/** OFFER or ACK; to an INFORM without an address and lease. */
function configure(messageType: number, lease: Lease, request: DhcpMessage, client: Client): Reply {
  const inform = dhcpMessageType(request) === type.inform;
  const { header, options } = base(request, messageType, lease, client);
  if (messageType === type.ack && dhcpMessageType(request) === type.discover) options.set(code.rapidCommit, Buffer.alloc(0));
  const extra = extraOptions(optionsOfIpv4, client.options, isIpxe(request));
  const values = new Map<number, Buffer>([...subnetOptions(lease, client.mtu, extra.get(code.router)), ...nameOptions(lease, client), ...extra]);
  // Who overrides the routes means both spellings of them.
  if (extra.has(code.routes) && !extra.has(code.msRoutes)) values.set(code.msRoutes, extra.get(code.routes)!);
  const siaddr = extra.get(SIADDR);
  values.delete(SIADDR);

  const lifetimes = leaseTimes(values, client.leaseS);
  for (const [option, data] of lifetimes) {
    values.delete(option);
    if (!inform) options.set(option, data);
  }
  options.set(code.mask, values.get(code.mask)!); // before the router, RFC 2132 section 3.3
  const names = { ...field("sname", extra.get(code.tftp), SNAME_MAX), ...field("file", extra.get(code.bootfile), FILE_MAX) };
  const rooms = new Rooms(options, sizeLimit(request, client.mtu), names, request.options.get(code.agent));
  const omitted = addRequested(rooms, values, request);

  const ciaddr = messageType === type.ack ? request.ciaddr : ANY;
  const yiaddr = inform ? ANY : lease.address;
  const message: DhcpInput = {
    ...header, ciaddr, yiaddr, ...rooms.content(), ...names,
    ...(siaddr === undefined ? {} : { siaddr: decodeDhcpOption(code.requested, siaddr) }),
  };
  const to = ciaddr !== ANY ? ciaddr : wantsBroadcast(request) || yiaddr === ANY ? BROADCAST : yiaddr;
  return { message, ...ways(request, lease, client, to), omitted };
}

/** What boot ROMs read instead of the option. */
const field = <K extends "sname" | "file">(name: K, data: Buffer | undefined, max: number): Partial<Record<K, string>> =>
  data === undefined || data.length > max ? {} : ({ [name]: data.toString("latin1") } as Record<K, string>);

const isIpxe = (request: DhcpMessage): boolean => request.options.has(code.ipxe) || request.options.get(code.userClass)?.includes("iPXE") === true;

/** Lease time, T1 and T2; who sets one of them otherwise gets it as it is. */
function leaseTimes(values: ReadonlyMap<number, Buffer>, ownS: number): Map<number, Buffer> {
  const lease = values.get(code.lease) ?? seconds(ownS);
  const leaseS = lease.readUInt32BE();
  const part = (share: number): Buffer => seconds(leaseS === FOREVER_S ? FOREVER_S : Math.floor(leaseS * share));
  return new Map([[code.lease, lease], [code.t1, values.get(code.t1) ?? part(1 / 2)], [code.t2, values.get(code.t2) ?? part(7 / 8)]]);
}

/** In the order they are sent to a client that does not ask for any in particular. `router`: the port's own option. */
function subnetOptions(lease: Lease, mtu: number, router: Buffer | undefined): Map<number, Buffer> {
  const cidr = parseCidr(lease.cidr)!;
  const gateway = router === undefined ? (lease.gateway ?? lease.routes.find((r) => r.destination === DEFAULT_ROUTE)?.nexthop) : firstAddress(router);
  const options = new Map<number, Buffer>();
  options.set(code.mask, maskBytes(cidr.prefix));
  if (gateway !== undefined) options.set(code.router, address(gateway));
  if (lease.dns.length > 0) options.set(code.dns, address(...lease.dns));
  options.set(code.mtu, encodeDhcpOption(code.mtu, String(mtu)));
  options.set(code.broadcast, address(formatIp({ family: 4, value: lastIp(cidr) })));
  const routes = classlessRoutes(cidr, lease.routes, gateway);
  if (routes.length > 0) {
    options.set(code.routes, encodeClasslessRoutes(routes));
    options.set(code.msRoutes, encodeClasslessRoutes(routes));
  }
  return options;
}

function nameOptions({ domain }: Lease, { hostName }: Client): Map<number, Buffer> {
  const options = new Map<number, Buffer>();
  if (hostName !== undefined) options.set(code.hostName, Buffer.from(hostName, "latin1"));
  if (domain !== undefined) options.set(code.domain, Buffer.from(domain, "latin1"));
  return options;
}

function maskBytes(prefix: number): Buffer {
  const mask = Buffer.alloc(4);
  mask.writeUInt32BE(prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0);
  return mask;
}

const firstAddress = (data: Buffer): string | undefined => (data.length < 4 ? undefined : numberToIpv4(data.readUInt32BE()));

/** A client that understands this option ignores the router option, so the default route is in it too. RFC 3442 */
function classlessRoutes(cidr: Cidr, routes: readonly HostRoute[], gateway: string | undefined): ClasslessRoute[] {
  const onLink = gateway === undefined || contains(cidr, parseIp(gateway)!) ? [] : [{ destination: `${gateway}/32`, nexthop: ANY }];
  if (routes.length === 0 && onLink.length === 0) return [];
  const byDefault = gateway === undefined || routes.some((r) => r.destination === DEFAULT_ROUTE) ? [] : [{ destination: DEFAULT_ROUTE, nexthop: gateway }];
  return [...onLink, ...routes, ...byDefault];
}

/** Bytes of the largest datagram that goes to the client, headers counted. */
function sizeLimit(request: DhcpMessage, mtu: number): number {
  const stated = request.options.get(code.maxSize);
  return Math.max(SIZE_MIN, Math.min(stated?.length === 2 ? stated.readUInt16BE() : SIZE_MIN, mtu));
}

type Names = Partial<Record<"file" | "sname", string>>;

/** Where options of a reply go: what the field of options has no room for goes into `file` and `sname`, where these have no names in them. */
class Rooms {
  private readonly options: Map<number, Uint8Array>;
  private readonly overload: { readonly options: Map<number, Uint8Array>; readonly in: "file" | "sname"; left: number }[];
  private readonly agent: Uint8Array | undefined;
  private left: number;

  /** `agent`: option 82, which comes back as the last one (RFC 3046 section 2.2), unless there is no room for it. */
  constructor(options: Map<number, Uint8Array>, limit: number, names: Names, agent: Uint8Array | undefined) {
    this.options = options;
    this.overload = (["file", "sname"] as const).flatMap((name) => (names[name] === undefined ? [{ in: name, options: new Map<number, Uint8Array>(), left: dhcpOverloadSizes[name] }] : []));
    this.left = limit - FIXED_BYTES - (this.overload.length > 0 ? OVERLOAD_BYTES : 0);
    for (const data of options.values()) this.left -= optionsOfIpv4.wireSize(data);
    this.agent = agent !== undefined && optionsOfIpv4.wireSize(agent) <= this.left ? agent : undefined;
    if (this.agent !== undefined) this.left -= optionsOfIpv4.wireSize(this.agent);
  }

  has(option: number): boolean {
    return this.options.has(option) || this.overload.some(({ options }) => options.has(option));
  }

  /** False: there is no room for it. */
  add(option: number, data: Uint8Array): boolean {
    const size = optionsOfIpv4.wireSize(data);
    if (size <= this.left) {
      this.left -= size;
      this.options.set(option, data);
      return true;
    }
    const room = this.overload.find(({ left }) => size <= left);
    if (room === undefined) return false;
    room.left -= size;
    room.options.set(option, data);
    return true;
  }

  content(): Pick<DhcpInput, "options" | "overload"> {
    const options = this.agent === undefined ? this.options : new Map([...this.options, [code.agent, this.agent]]);
    const used = this.overload.filter((room) => room.options.size > 0);
    return used.length === 0 ? { options } : { options, overload: Object.fromEntries(used.map((room) => [room.in, room.options])) };
  }
}

/** Adds what the client asks for, in its order, as far as it fits; everything but 249 if it asks for nothing. */
function addRequested(rooms: Rooms, values: ReadonlyMap<number, Buffer>, request: DhcpMessage): number[] {
  const list = request.options.get(code.list);
  const wanted = list === undefined ? [...values.keys()].filter((c) => c !== code.msRoutes) : [...new Set(list)];
  return wanted.filter((option) => {
    const data = values.get(option);
    return data !== undefined && data.length > 0 && !rooms.has(option) && !rooms.add(option, data);
  });
}
