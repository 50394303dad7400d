// Identity associations: which of the port's addresses and prefixes goes into which IA of a client's message, and what an IA is answered (RFC 8415
// section 18.3). Nothing is remembered: they are the port's as long as it has them, so a client that names those of an IA gets them again.
import { dhcp6StatusCodes, type Dhcp6Message, type Dhcp6Option } from "packet-codec";

/** IAs of a message that are answered, and addresses and prefixes in the answer: with these it fits into the smallest packet of IPv6. */
const IAS_MAX = 8;
const LEASES_MAX = 24;
/** T1 and T2 as parts of the lifetime, as RFC 8415 section 21.4 has them. */
const T1_PART = 0.5;
const T2_PART = 0.8;
const FOREVER_S = 0xffffffff;

/** IA_NA: addresses. IA_TA: temporary ones. IA_PD: prefixes. */
export type IaName = "IA_NA" | "IA_TA" | "IA_PD";

/** An IA of a client's message. */
export interface Ia {
  readonly name: IaName;
  readonly iaid: number;
  /** Addresses or prefixes that the client names in it, as far as they are looked at. */
  readonly named: readonly Lease[];
}
/** An address, or a prefix. */
export interface Lease {
  readonly ip: string;
  /** Of a prefix. */
  readonly length?: number;
}
const nameOf = ({ ip, length }: Lease): string => (length === undefined ? ip : `${ip}/${length}`);

export function associations({ options }: Pick<Dhcp6Message, "options">): Ia[] {
  const found: Ia[] = [];
  for (const item of options) {
    if (found.length === IAS_MAX) break;
    if (item.option === "IA_NA" || item.option === "IA_TA" || item.option === "IA_PD") found.push({ name: item.option, iaid: item.value.iaid, named: namedIn(item.value.options) });
  }
  return found;
}
const namedIn = (options: readonly Dhcp6Option[]): Lease[] => options.slice(0, LEASES_MAX).flatMap((item): Lease[] =>
  item.option === "IAADDR" ? [{ ip: item.value.address }] : item.option === "IAPREFIX" ? [{ ip: item.value.prefix, length: item.value.prefix_length }] : []);

/** Leases for each IA of a kind: those that it names, each once; of the others one for each that has none, and the rest for the first. */
function assign(ias: readonly Ia[], { addresses, prefixes }: Lent): Map<Ia, Lease[]> {
  return new Map([...share(ias.filter(({ name }) => name === "IA_NA"), addresses.map((ip) => ({ ip }))), ...share(ias.filter(({ name }) => name === "IA_PD"), prefixes)]);
}
function share(ias: readonly Ia[], leases: readonly Lease[]): Map<Ia, Lease[]> {
  const free = new Map(leases.map((lease) => [nameOf(lease), lease]));
  const taken = (name: string): Lease[] => {
    const lease = free.get(name);
    free.delete(name);
    return lease === undefined ? [] : [lease];
  };
  const out = new Map(ias.map((ia) => [ia, ia.named.flatMap((lease) => taken(nameOf(lease)))]));
  for (const got of out.values()) {
    const [next] = free.keys();
    if (got.length === 0 && next !== undefined) got.push(...taken(next));
  }
  if (ias[0] !== undefined) out.get(ias[0])!.push(...free.values());
  return out;
}

export interface Given {
  readonly options: Dhcp6Option[];
  /** Addresses and prefixes in them that are the port's. */
  readonly count: number;
}

/** What the port has, and for how long in seconds. */
export interface Lent {
  readonly addresses: readonly string[];
  /** Delegated to it. */
  readonly prefixes: readonly Lease[];
  readonly leaseS: number;
}

/** IAs of a SOLICIT or REQUEST. `isOnLink`: of a REQUEST, whose addresses have to be such as the link may have. */
export function give(ias: readonly Ia[], lent: Lent, isOnLink?: (ip: string) => boolean): Given {
  const elsewhere = new Set(isOnLink === undefined ? [] : ias.filter(({ name, named }) => name !== "IA_PD" && named.some(({ ip }) => !isOnLink(ip))));
  const assigned = assign(ias.filter((ia) => !elsewhere.has(ia)), lent);
  const room = new Room(lent);
  const options = ias.map((ia) => {
    if (elsewhere.has(ia)) return refused(ia, "notOnLink");
    const leases = room.lend(assigned.get(ia) ?? []);
    return leases.length > 0 ? association(ia, leases, lent.leaseS) : refused(ia, ia.name === "IA_PD" ? "noPrefixAvail" : "noAddrsAvail");
  });
  return { options, count: room.count };
}

/** IAs of a RENEW or REBIND: what the client names and the port has not is over. */
export function keep(ias: readonly Ia[], lent: Lent): Given {
  const assigned = assign(ias, lent);
  const room = new Room(lent);
  const lends = ias.map((ia) => room.lend(assigned.get(ia) ?? []));
  const options = ias.map((ia, i) => {
    const mine = new Set(assigned.get(ia)?.map(nameOf));
    const over = room.end(ia.named.filter((lease) => !mine.has(nameOf(lease))), ia.name);
    if (lends[i]!.length === 0 && over.length === 0) return refused(ia, "noBinding");
    return association(ia, [...lends[i]!, ...over], lends[i]!.length === 0 ? 0 : lent.leaseS);
  });
  return { options, count: room.count };
}

/** IAs of a RELEASE or DECLINE that name nothing the port has: each is told, without more in it. */
export function unbound(ias: readonly Ia[], { addresses, prefixes }: Pick<Lent, "addresses" | "prefixes">): Dhcp6Option[] {
  const has: Readonly<Record<IaName, ReadonlySet<string>>> = { IA_NA: new Set(addresses), IA_TA: new Set(), IA_PD: new Set(prefixes.map(nameOf)) };
  return ias.filter(({ name, named }) => !named.some((lease) => has[name].has(nameOf(lease)))).map((ia) => refused(ia, "noBinding"));
}

/** As many leases as an answer has room for. */
class Room {
  private left = LEASES_MAX;
  count = 0;
  private readonly leaseS: number;

  constructor({ leaseS }: Lent) {
    this.leaseS = leaseS;
  }

  lend(leases: readonly Lease[]): Dhcp6Option[] {
    const some = this.take(leases);
    this.count += some.length;
    return some.map((lease) => optionOf(lease, this.leaseS));
  }

  end(leases: readonly Lease[], name: IaName): Dhcp6Option[] {
    return this.take(leases.filter(({ length }) => (length !== undefined) === (name === "IA_PD"))).map((lease) => optionOf(lease, 0));
  }

  private take<T>(all: readonly T[]): readonly T[] {
    const some = all.slice(0, this.left);
    this.left -= some.length;
    return some;
  }
}

function optionOf({ ip, length }: Lease, lifetimeS: number): Dhcp6Option {
  const lives = { preferred_lifetime_s: lifetimeS, valid_lifetime_s: lifetimeS, options: [] };
  return length === undefined ? { option: "IAADDR", value: { address: ip, ...lives } } : { option: "IAPREFIX", value: { prefix: ip, prefix_length: length, ...lives } };
}

function association({ name, iaid }: Ia, options: Dhcp6Option[], leaseS: number): Dhcp6Option {
  const part = (share: number): number => (leaseS === FOREVER_S ? FOREVER_S : Math.floor(leaseS * share));
  return name === "IA_TA" ? { option: name, value: { iaid, options } } : { option: name, value: { iaid, t1_s: part(T1_PART), t2_s: part(T2_PART), options } };
}

const texts = {
  success: "", notOnLink: "not of this link", noAddrsAvail: "no address for it", noPrefixAvail: "no prefix for it", noBinding: "nothing is bound here",
} as const;

/** STATUS_CODE, in an association or of the whole message. */
export const status = (code: keyof typeof texts): Dhcp6Option => ({ option: "STATUS_CODE", value: { status: dhcp6StatusCodes[code], message: texts[code] } });

const refused = (ia: Ia, code: keyof typeof texts): Dhcp6Option => association(ia, [status(code)], 0);
