// Which addresses a port gets. Free ones are found by going on from where the last search in the subnet ended, so that an
// address is not reused soon and the cost does not depend on the pool's size; where that part is crowded, by trying at
// random; and where the pool is nearly full, by going through the subnet's addresses, which also proves that it is full.
import {
  badRequest, conflict, contains, defineTable, eui64, formatIp, invalidInput, lastIp, notFound, parseCidr, parseIp,
  type ApiContext, type Cidr, type ReadView, type Row, type Tx,
} from "#app";
import { addressesOf, addressHolderTable, addressId, addressTable, deviceOwner, isRouterPort, type Address, type Port } from "../l2/model.ts";
import type { FixedIp } from "./checks.ts";
import { placed } from "./placed.ts";
import { deferredPortTable, subnetResource, subnetTable, type AllocationPool, type Subnet } from "./subnets.ts";

/** Where the next search in a subnet's pools starts: an offset into the pools put end to end. `id` is the subnet's. */
interface Cursor extends Row {
  readonly next: string;
  /** Every address of the pools was found taken, and none was freed since. */
  readonly full?: true;
}
export const cursorTable = defineTable<Cursor>()("ip_cursor", {});

/** Addresses tried one after the other, then at random, before the subnet is gone through. */
const STEPS = 32;
const PROBES = 96;

interface Range {
  readonly start: bigint;
  readonly size: bigint;
}

export const cidrOf = (subnet: Subnet): Cidr => parseCidr(subnet.cidr)!;

/** Ports make up their own address from the announced prefix and their MAC. */
export const isAutoAddress = (s: Pick<Subnet, "ipv6_address_mode" | "ipv6_ra_mode">): boolean =>
  s.ipv6_address_mode === "slaac" || s.ipv6_address_mode === "dhcpv6-stateless" || s.ipv6_ra_mode === "slaac" || s.ipv6_ra_mode === "dhcpv6-stateless";

const autoAddress = (subnet: Subnet, mac: string): string => formatIp(eui64(cidrOf(subnet), mac));

const rangesOf = (pools: readonly AllocationPool[]): Range[] =>
  pools.map((p) => {
    const start = parseIp(p.start)!.value;
    return { start, size: parseIp(p.end)!.value - start + 1n };
  });

const sizeOf = (ranges: readonly Range[]): bigint => ranges.reduce((sum, r) => sum + r.size, 0n);

function addressAt(ranges: readonly Range[], offset: bigint): bigint {
  let rest = offset;
  for (const r of ranges) {
    if (rest < r.size) return r.start + rest;
    rest -= r.size;
  }
  throw new RangeError("offset past the end of the pools");
}

/** Position of an address in the pools put end to end; undefined outside of them. */
function offsetOf(ranges: readonly Range[], address: bigint): bigint | undefined {
  let before = 0n;
  for (const r of ranges) {
    if (address >= r.start && address < r.start + r.size) return before + (address - r.start);
    before += r.size;
  }
  return undefined;
}

/** 110 random bits from a version 4 UUID. */
function random(tx: Tx): bigint {
  const hex = tx.uuid().replaceAll("-", "");
  return (BigInt(`0x${hex.slice(0, 12)}`) << 62n) | (BigInt(`0x${hex.slice(16)}`) & ((1n << 62n) - 1n));
}

/** A free address of the pools, or undefined when every one is taken. `first`: the lowest free one, if that is soon found. */
export function pickAddress(tx: Tx, subnet: Subnet, first = false): string | undefined {
  const ranges = rangesOf(subnet.allocation_pools);
  const total = sizeOf(ranges);
  if (total === 0n) return undefined;
  const text = (offset: bigint): string => formatIp({ family: subnet.ip_version, value: addressAt(ranges, offset) });
  const free = (ip: string): boolean => tx.get(addressTable, addressId(subnet.network_id, ip)) === undefined;
  const goOn = (offset: bigint, ip: string): string => {
    tx.put(cursorTable, { id: subnet.id, next: String(offset + 1n) });
    return ip;
  };
  if (first) {
    for (let i = 0n; i < total && i < STEPS; i++) if (free(text(i))) return text(i);
  }
  const cursor = tx.get(cursorTable, subnet.id);
  if (cursor?.full === true) return undefined;
  const start = BigInt(cursor?.next ?? "0") % total;
  for (let i = 0n; i < total && i < STEPS; i++) {
    const offset = (start + i) % total;
    const ip = text(offset);
    if (free(ip)) return goOn(offset, ip);
  }
  if (total > STEPS) {
    for (let i = 0; i < PROBES; i++) {
      const offset = random(tx) % total;
      const ip = text(offset);
      if (free(ip)) return goOn(offset, ip);
    }
  }
  const used = new Set<bigint>();
  for (const address of tx.by(addressTable, "subnet", subnet.id)) {
    const offset = offsetOf(ranges, parseIp(address.ip)!.value);
    if (offset !== undefined) used.add(offset);
  }
  if (BigInt(used.size) >= total) {
    tx.put(cursorTable, { id: subnet.id, next: String(start), full: true });
    return undefined;
  }
  let offset = start;
  while (used.has(offset)) offset = (offset + 1n) % total;
  return goOn(offset, text(offset));
}

/** Makes the next search in the subnet a real one again. */
export function reopen(tx: Tx, subnetId: string): void {
  const cursor = tx.get(cursorTable, subnetId);
  if (cursor?.full === true) tx.put(cursorTable, { id: cursor.id, next: cursor.next });
}

function giveBack(tx: Tx, address: Address): void {
  tx.delete(addressTable, address.id);
  // Whoever took it took it from this port: of the next that has it nothing is taken yet.
  if (tx.get(addressHolderTable, address.id) !== undefined) tx.delete(addressHolderTable, address.id);
  reopen(tx, address.subnet_id);
}

/** By age, then id: "the first subnet" must be the same on every controller. */
const subnetsOf = (view: ReadView, networkId: string): readonly Subnet[] =>
  view.by(subnetTable, "network", networkId).toSorted((a, b) => (a.created_at < b.created_at ? -1 : a.created_at > b.created_at ? 1 : a.id < b.id ? -1 : 1));


interface Chosen {
  readonly ip: string;
  readonly subnet: Subnet;
}

const exhausted = (networkId: string): Error => conflict("IpAddressGenerationFailure", `No more IP addresses available on network ${networkId}.`);
const taken = (ip: string, subnetId: string): Error => conflict("IpAddressAlreadyAllocated", `IP address ${ip} already allocated in subnet ${subnetId}`);

/** Not the network or broadcast address, where there is such a thing. */
export function isHostAddress(cidr: Cidr, value: bigint): boolean {
  if (value < cidr.network || value > lastIp(cidr)) return false;
  return cidr.family === 6 || cidr.prefix >= 31 || (value !== cidr.network && value !== lastIp(cidr));
}

const notOnIt = (networkId: string, subnetId: string): Error => invalidInput(`Failed to create port on network ${networkId}, because fixed_ips included invalid subnet ${subnetId}`);

function subnetOfWant(tx: Tx, ctx: ApiContext, port: Port, subnets: readonly Subnet[], want: FixedIp): Subnet {
  if (want.subnet_id !== undefined) {
    const found = subnets.find((s) => s.id === want.subnet_id);
    if (found !== undefined) return found;
    // Neutron tells an unknown subnet from one of another network, as far as the caller may see it.
    if (tx.get(subnetTable, want.subnet_id) === undefined) throw notFound("SubnetNotFound", `Subnet ${want.subnet_id} could not be found.`);
    ctx.visible(subnetResource, want.subnet_id);
    throw notOnIt(port.network_id, want.subnet_id);
  }
  const ip = parseIp(want.ip_address!)!;
  const found = subnets.find((s) => contains(cidrOf(s), ip));
  if (found === undefined) throw badRequest(`IP address ${want.ip_address!} is not a valid IP for any of the subnets on the specified network.`, "InvalidIpForNetwork");
  return found;
}

/** An address that the caller named. `own`: the port has it already. */
function explicit(tx: Tx, port: Port, subnet: Subnet, ip: string, own: boolean): Chosen {
  const cidr = cidrOf(subnet);
  const parsed = parseIp(ip)!;
  if (parsed.family !== cidr.family || !isHostAddress(cidr, parsed.value)) {
    throw badRequest(`IP address ${ip} is not a valid IP for the specified subnet.`, "InvalidIpForSubnet");
  }
  if (isAutoAddress(subnet) && !isRouterPort(port) && ip !== autoAddress(subnet, port.mac_address)) {
    throw badRequest(`IPv6 address ${ip} cannot be directly assigned to a port on subnet ${subnet.id} as the subnet is configured for automatic addresses`, "AllocationOnAutoAddressSubnet");
  }
  if (!own && tx.get(addressTable, addressId(port.network_id, ip)) !== undefined) throw taken(ip, subnet.id);
  return { ip, subnet };
}

function automatic(tx: Tx, port: Port, subnet: Subnet): Chosen | undefined {
  const ip = pickAddress(tx, subnet, port.device_owner === deviceOwner.dhcp);
  return ip === undefined ? undefined : { ip, subnet };
}

/** The port's own address on an auto-address subnet. */
function slaac(tx: Tx, port: Port, subnet: Subnet): Chosen {
  const ip = autoAddress(subnet, port.mac_address);
  const holder = tx.get(addressTable, addressId(port.network_id, ip));
  if (holder !== undefined && holder.port_id !== port.id) throw taken(ip, subnet.id);
  return { ip, subnet };
}

function put(tx: Tx, port: Port, chosen: Chosen, position: number): void {
  const id = addressId(port.network_id, chosen.ip);
  const row: Address = { id, network_id: port.network_id, port_id: port.id, subnet_id: chosen.subnet.id, ip: chosen.ip, family: chosen.subnet.ip_version, position };
  const before = tx.get(addressTable, id);
  if (before === undefined || before.position !== position) tx.put(addressTable, row);
}

const isFor = ({ owners = [] }: Subnet, owner: string): boolean => owners.includes(owner);

/** Of these subnets those that are for a port: for its owner if there are any, else for all. */
function subnetsFor({ device_owner: owner }: Port, subnets: readonly Subnet[]): readonly Subnet[] {
  const own = subnets.filter((s) => isFor(s, owner));
  return own.length > 0 ? own : subnets.filter((s) => s.owners === undefined);
}

/** Addresses of a port for which none were asked: one of each family, and one of each auto-address subnet; later, where it is not known yet of which. */
export function assignDefault(tx: Tx, ctx: Pick<ApiContext, "ask">, port: Port): void {
  const here = placed(tx, ctx, port, subnetsOf(tx, port.network_id), undefined);
  if (here === "later") tx.put(deferredPortTable, { id: port.id, network_id: port.network_id });
  else assignFrom(tx, port, here);
}

/** Likewise of a port that waited for it, of these subnets of its network. @throws ApiError when there is none for it, or no address is left */
export function assignDeferred(tx: Tx, port: Port, subnets: readonly Subnet[]): void {
  notDeferred(tx, port.id);
  const ids = new Set(subnets.map((s) => s.id));
  assignFrom(tx, port, subnetsOf(tx, port.network_id).filter((s) => ids.has(s.id)));
}

export function notDeferred(tx: Tx, portId: string): void {
  if (tx.get(deferredPortTable, portId) !== undefined) tx.delete(deferredPortTable, portId);
}

function assignFrom(tx: Tx, port: Port, there: readonly Subnet[]): void {
  const subnets = subnetsFor(port, there);
  if (subnets.length === 0 && there.length > 0) throw conflict("IpAddressGenerationFailureNoMatchingSubnet", `No valid service subnet for the given device owner, network ${port.network_id}, device owner ${port.device_owner}.`);
  let position = 0;
  for (const family of [4, 6] as const) {
    const candidates = subnets.filter((s) => s.ip_version === family && !isAutoAddress(s));
    if (candidates.length === 0) continue;
    let chosen: Chosen | undefined;
    for (const subnet of candidates) {
      chosen = automatic(tx, port, subnet);
      if (chosen !== undefined) break;
    }
    if (chosen === undefined) throw exhausted(port.network_id);
    put(tx, port, chosen, position++);
  }
  if (isRouterPort(port)) return;
  for (const subnet of subnets) if (isAutoAddress(subnet)) put(tx, port, slaac(tx, port, subnet), position++);
}

/** Makes the port's addresses those that were asked for. What it has already and what is asked again stays. */
export function assign(tx: Tx, ctx: ApiContext, port: Port, wants: readonly FixedIp[]): void {
  const subnets = subnetsOf(tx, port.network_id);
  if (wants.length > 0 && subnets.length === 0) throw invalidInput(`Failed to create port on network ${port.network_id}, because it has no subnets`);
  const before = addressesOf(tx, port.id);
  const spare = new Map(before.map((a) => [a.ip, a]));
  const chosen: (Chosen | undefined)[] = wants.map(() => undefined);
  const askedSubnets = wants.map((want) => subnetOfWant(tx, ctx, port, subnets, want));
  const where = placed(tx, ctx, port, subnets, askedSubnets);
  const here = where === "later" ? [] : where;
  const elsewhere = askedSubnets.find((s) => !here.includes(s));
  if (elsewhere !== undefined) throw notOnIt(port.network_id, elsewhere.id);
  notDeferred(tx, port.id);

  // Named addresses first, then those of auto-address subnets, so that neither is given out for an unnamed one.
  wants.forEach((want, i) => {
    if (want.ip_address !== undefined) {
      chosen[i] = explicit(tx, port, askedSubnets[i]!, want.ip_address, spare.has(want.ip_address));
      spare.delete(want.ip_address);
    } else if (isAutoAddress(askedSubnets[i]!)) {
      chosen[i] = slaac(tx, port, askedSubnets[i]!);
      spare.delete(chosen[i].ip);
    }
  });
  const named = chosen.flatMap((c) => (c === undefined ? [] : [c.ip]));
  const twice = named.find((ip, i) => named.indexOf(ip) !== i);
  if (twice !== undefined) throw invalidInput(`Duplicate IP address '${twice}' in fixed_ips`);
  const extra: Chosen[] = [];
  if (!isRouterPort(port)) {
    for (const subnet of here) {
      if (!isAutoAddress(subnet) || chosen.some((c) => c?.subnet.id === subnet.id)) continue;
      const own = slaac(tx, port, subnet);
      spare.delete(own.ip);
      extra.push(own);
    }
  }
  wants.forEach((_, i) => {
    if (chosen[i] !== undefined) return;
    const old = [...spare.values()].find((a) => a.subnet_id === askedSubnets[i]!.id);
    if (old === undefined) return;
    spare.delete(old.ip);
    chosen[i] = { ip: old.ip, subnet: askedSubnets[i]! };
  });
  // Those settled are taken before more are looked for; those given up become free only afterwards, so that what replaces
  // them is another address.
  chosen.forEach((c, i) => c !== undefined && put(tx, port, c, i));
  extra.forEach((c, i) => put(tx, port, c, wants.length + i));
  wants.forEach((_, i) => {
    if (chosen[i] !== undefined) return;
    const found = automatic(tx, port, askedSubnets[i]!);
    if (found === undefined) throw exhausted(port.network_id);
    put(tx, port, found, i);
  });
  for (const old of spare.values()) giveBack(tx, old);
}

/** Addresses made from the old MAC become those of the new one. */
export function followMac(tx: Tx, port: Port, oldMac: string): void {
  for (const address of addressesOf(tx, port.id)) {
    const subnet = tx.get(subnetTable, address.subnet_id);
    if (subnet === undefined || !isAutoAddress(subnet) || address.ip !== autoAddress(subnet, oldMac)) continue;
    giveBack(tx, address);
    put(tx, port, slaac(tx, port, subnet), address.position);
  }
}

/** A new auto-address subnet gives a port of its network an address. False if this is not for it. */
export function addAutoAddress(tx: Tx, ctx: Pick<ApiContext, "ask">, port: Port, subnet: Subnet): boolean {
  if (isRouterPort(port)) return false;
  const used = addressesOf(tx, port.id);
  const all = subnetsOf(tx, port.network_id);
  const here = placed(tx, ctx, port, all, all.filter((s) => used.some((a) => a.subnet_id === s.id)));
  if (here === "later" || !subnetsFor(port, here).some((s) => s.id === subnet.id)) return false;
  put(tx, port, slaac(tx, port, subnet), used.length === 0 ? 0 : used.at(-1)!.position + 1);
  return true;
}

export function release(tx: Tx, portId: string): void {
  for (const address of tx.by(addressTable, "port", portId)) giveBack(tx, address);
  notDeferred(tx, portId);
}
