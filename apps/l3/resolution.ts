// Neighbours that the model does not list: an address of a pair that several ports have, or one of a prefix; what is behind a port without
// port security. A router that has a packet for one asks in the network by ARP or neighbour discovery, up to three times, keeps the packet
// meanwhile, and tells the switch who answered: it keeps that for a while (l2's tellNeighbour), so that only the first packet comes here.
// Who was told is told again when somebody else says to have the address. Nobody who may have it, or no answer: host unreachable.
import { contains, isIpv6, lastIp, parseCidr, parseIp, type PacketIn, type ServiceDecl, type ServiceHost, type StageOut } from "#app";
import { arpOps, buildArp, buildEthernet, buildIcmpv6, buildIpv6, buildNeighbourSolicitation, ethertypes, icmpv6Types, ipProtocols, PacketError, parsePacket } from "packet-codec";
import { activeAttachment, addressId, attachmentTable, claimant, heardNeighbourTable, learningTable, networkTable, mayClaim, NEIGHBOUR_S, portTable, tellNeighbour, type Attachment } from "../l2/model.ts";
import { legTable, routerInterfaceTable, undelivered } from "./model.ts";
import { errorAbout, partiesOf, type Parties } from "./packet-in.ts";
import { l3 } from "./tables.ts";

/** Questions for one neighbour, and seconds between them. RFC 4861 section 10: MAX_MULTICAST_SOLICIT, RETRANS_TIMER */
const QUESTIONS = 3;
const QUESTION_S = 1;
/** Neighbours asked for at a time, in all and because of one sender; packets that wait for each. */
const ASKED = 1024;
const ASKED_PER_PORT = 32;
const WAITING = 8;
/** Neighbours that switches were told of and may still believe: in all, and of one port. */
const TOLD = 8192;
const TOLD_PER_PORT = 64;
/** Seconds between looks at what was heard. */
const LOOK_S = 0.02;
const REVIEW_S = 0.1;
/** Seconds between what is said of one neighbour: two that quarrel about an address keep no switch busy. */
const QUIET_S = 0.5;

interface Waiting {
  readonly packet: PacketIn;
  readonly parties: Parties;
}
interface Question {
  readonly network: { readonly id: string; readonly key: number };
  readonly router: string;
  readonly ip: string;
  readonly sender: string;
  readonly waiting: Waiting[];
  asked: number;
  dueMs: number;
}
interface Holder {
  readonly mac: string;
  readonly at: Pick<Attachment, "port_id" | "port_key" | "host_key">;
}
/** Nobody has it any more: a switch that is told so sends what is for it here again. */
const NOBODY: Holder = { mac: "00:00:00:00:00:00", at: { port_id: "", port_key: 0, host_key: 0 } };
interface Told {
  readonly network: { readonly id: string; readonly key: number };
  readonly ip: string;
  port: string;
  said: string;
  /** Until when nothing else is said of it. */
  quietMs: number;
  /** Chassis that was told -> until when it may believe it. */
  readonly chassis: Map<string, number>;
}

export const resolution: ServiceDecl = {
  name: "neighbour-resolution",
  about: "asks for next hops that the model does not list, and tells switches who answered",
  start(host) {
    const asked = new Map<string, Question>();
    const told = new Beliefs(host);

    const look = (): void => {
      for (const [key, question] of asked) {
        const holder = holderOf(host, question.network.id, question.ip);
        if (holder === undefined && host.clock.monotonic() < question.dueMs) continue;
        if (holder === undefined && question.asked < QUESTIONS && ask(host, question)) continue;
        asked.delete(key);
        answer(question.waiting, question, holder);
      }
      if (asked.size > 0) host.after(LOOK_S, look);
    };
    const answer = (waiting: readonly Waiting[], { network, ip }: Pick<Question, "network" | "ip">, holder: Holder | undefined): void => {
      for (const { packet, parties } of waiting) {
        if (holder !== undefined && told.tell(packet.chassis, network, ip, holder)) host.send([forwarded(packet, holder)]);
        else host.send(errorAbout(packet, undelivered.unresolved, parties, host.view, host.log, senderMac(host, packet, parties)));
      }
    };

    host.onPacket("l3_undelivered", (packet) => {
      if (packet.register("undelivered", l3) !== undelivered.unresolved) return;
      const parties = partiesOf(packet, host.view);
      if (parties === undefined) return;
      const { network, router, sender } = parties;
      const ip = packet.register("nexthop");
      if (isBroadcast(host, router.id, network.id, ip)) return;
      const key = addressId(network.id, ip);
      const holder = holderOf(host, network.id, ip);
      if (holder !== undefined || claimant(host.view, network.id, ip) === undefined) {
        answer([{ packet, parties }], { network, ip }, holder);
        return;
      }
      const known = asked.get(key);
      if (known !== undefined) {
        if (known.waiting.length < WAITING) known.waiting.push({ packet, parties });
        return;
      }
      if (asked.size >= ASKED || [...asked.values()].filter((q) => q.sender === sender.id).length >= ASKED_PER_PORT) return;
      const question: Question = { network, router: router.id, ip, sender: sender.id, waiting: [{ packet, parties }], asked: 0, dueMs: 0 };
      if (!ask(host, question)) return;
      if (asked.size === 0) host.after(LOOK_S, look);
      asked.set(key, question);
    });
    host.onCommit([learningTable], () => told.watch());
    told.watch();
    return undefined;
  },
};

/** Who was heard to have an address, if the port may still say so and is somewhere. */
function holderOf({ view }: ServiceHost, networkId: string, ip: string): Holder | undefined {
  const heard = view.fact(heardNeighbourTable, addressId(networkId, ip));
  const port = heard === undefined ? undefined : view.get(portTable, heard.port_id);
  if (heard === undefined || port?.network_id !== networkId || !mayClaim(port, ip, heard.mac)) return undefined;
  const at = activeAttachment(view, port.id);
  return at === undefined ? undefined : { mac: heard.mac, at };
}

/** Sends a question into the network, from a chassis that has it. False: the router, or everybody who may have the address, is gone. */
function ask(host: ServiceHost, question: Question): boolean {
  const { network, ip } = question;
  const at = claimant(host.view, network.id, ip);
  const target = parseIp(ip);
  const legs = host.view.by(legTable, "router", question.router).filter((l) => l.network_id === network.id).sort((a, b) => (a.id < b.id ? -1 : 1));
  const own = legs.flatMap(({ mac, addresses }) => addresses.filter((a) => isIpv6(a.ip) === isIpv6(ip)).map((a) => ({ mac, ...a })));
  const from = target === undefined ? undefined : (own.find((a) => contains(parseCidr(a.cidr)!, target)) ?? own[0]);
  if (at === undefined || target === undefined || from === undefined) return false;
  question.asked++;
  question.dueMs = host.clock.monotonic() + QUESTION_S * 1000;
  host.send([{ chassis: at.chassis, stage: "forward", registers: { net: network.key }, data: isIpv6(ip) ? solicitation(from.mac, from.ip, ip, target.value) : arpRequest(from.mac, from.ip, ip) }]);
  return true;
}

const arpRequest = (mac: string, from: string, ip: string): Buffer =>
  buildEthernet({ dst: "ff:ff:ff:ff:ff:ff", src: mac, ethertype: ethertypes.arp }, buildArp({ op: arpOps.request, sha: mac, spa: from, tha: "00:00:00:00:00:00", tpa: ip }));

/** To the solicited-node address, RFC 4861 section 4.3. */
function solicitation(mac: string, from: string, ip: string, value: bigint): Buffer {
  const low = (value & 0xffffffn).toString(16).padStart(6, "0");
  const ends = { src: from, dst: `ff02::1:ff${low.slice(0, 2)}:${low.slice(2)}` };
  const body = buildNeighbourSolicitation({ target: ip, source_lladdr: mac });
  const message = buildIcmpv6({ type: icmpv6Types.neighbourSolicitation, code: 0 }, body, ends);
  return buildEthernet({ dst: `33:33:ff:${low.slice(0, 2)}:${low.slice(2, 4)}:${low.slice(4)}`, src: mac, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.icmpv6, hop_limit: 255 }, message));
}

/** The packet as it waited, on as if the neighbour had been known. */
function forwarded(packet: PacketIn, { mac, at }: Holder): StageOut {
  const frame = Buffer.from(packet.data);
  Buffer.from(mac.replaceAll(":", ""), "hex").copy(frame);
  return { chassis: packet.chassis, stage: "locate", registers: { net: packet.register("net"), in_port_key: packet.register("in_port_key"), out_port_key: at.port_key, out_host: at.host_key }, data: frame };
}

/** The MAC of who sent it: the packet has the router's by now. */
function senderMac({ view }: ServiceHost, packet: PacketIn, { sender, home }: Parties): string {
  const source = sourceOf(packet.data);
  if (source === undefined) return sender.mac_address;
  const pair = sender.allowed_address_pairs.find((p) => p.mac_address !== "" && mayClaim({ ...sender, allowed_address_pairs: [p] }, source));
  if (sender.port_security_enabled) return pair?.mac_address ?? sender.mac_address;
  const heard = view.fact(heardNeighbourTable, addressId(home.id, source));
  return heard?.port_id === sender.id ? heard.mac : sender.mac_address;
}

function sourceOf(data: Uint8Array): string | undefined {
  try {
    const { ipv4, ipv6 } = parsePacket(data);
    return (ipv4 ?? ipv6)?.src;
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    return undefined;
  }
}

/** An IPv4 subnet's own broadcast or network address, which is nobody's. RFC 2644 */
function isBroadcast({ view }: ServiceHost, router: string, network: string, text: string): boolean {
  const ip = parseIp(text);
  return ip?.family === 4 && view.by(legTable, "router", router).some((leg) => leg.network_id === network && leg.addresses.some(({ cidr: of }) => {
    const cidr = parseCidr(of);
    return cidr?.family === 4 && cidr.prefix < 31 && (ip.value === lastIp(cidr) || ip.value === cidr.network);
  }));
}

/** What switches were told and may still believe. */
class Beliefs {
  private readonly entries = new Map<string, Told>();
  /** What was said to whoever may have asked, as long as that is not known. */
  private readonly recalled = new Map<string, string>();
  private readonly host: ServiceHost;
  private turn = 0;
  private watching = false;
  private readonly startedMs: number;

  constructor(host: ServiceHost) {
    this.host = host;
    this.startedMs = host.clock.monotonic();
  }

  /** Looks from now on, while there is anything to look at: who was told, or who may have been before the start. */
  watch(): void {
    if (this.watching || (this.entries.size === 0 && !(this.recalling() && hasAny(this.host.view.all(learningTable))))) return;
    this.watching = true;
    this.host.after(REVIEW_S, () => {
      this.watching = false;
      this.review();
      this.watch();
    });
  }

  private recalling(): boolean {
    return this.host.clock.monotonic() < this.startedMs + NEIGHBOUR_S * 1000;
  }

  /** False: there is too much of this port, or in all. */
  tell(chassis: string, network: Told["network"], ip: string, holder: Holder): boolean {
    const key = addressId(network.id, ip);
    let entry = this.entries.get(key);
    if (entry === undefined) {
      const ofPort = Array.from(this.entries.values()).filter((e) => e.port === holder.at.port_id).length;
      if (this.entries.size >= TOLD || ofPort >= TOLD_PER_PORT) return false;
      this.entries.set(key, (entry = { network, ip, port: holder.at.port_id, said: "", quietMs: 0, chassis: new Map() }));
      this.watch();
    }
    entry.chassis.set(chassis, this.host.clock.monotonic() + NEIGHBOUR_S * 1000);
    if (entry.said !== said(holder)) this.say(entry, holder);
    else this.host.send([tellNeighbour(chassis, network.key, ip, placeOf(holder), this.next())]);
    return true;
  }

  /** Somebody else says to have an address, or it is elsewhere: those who were told are told again. */
  private review(): void {
    const now = this.host.clock.monotonic();
    if (this.recalling()) this.recall();
    else this.recalled.clear();
    for (const [key, entry] of this.entries) {
      for (const [chassis, untilMs] of entry.chassis) if (untilMs <= now) entry.chassis.delete(chassis);
      if (entry.chassis.size === 0) this.entries.delete(key);
      const heard = this.host.view.fact(heardNeighbourTable, key) !== undefined;
      const holder = holderOf(this.host, entry.network.id, entry.ip) ?? (heard ? NOBODY : undefined);
      if (holder !== undefined && entry.said !== said(holder) && now >= entry.quietMs) this.say(entry, holder);
    }
  }

  /** Who was told before this controller started is not known, and may believe it still: what is heard meanwhile is told to whoever may have asked. */
  private recall(): void {
    const { view } = this.host;
    for (const { id } of view.facts(heardNeighbourTable)) {
      if (this.entries.has(id)) continue;
      const at = id.indexOf("/");
      const network = view.get(networkTable, id.slice(0, at));
      const holder = network === undefined ? undefined : holderOf(this.host, network.id, id.slice(at + 1));
      if (network === undefined || holder === undefined || this.recalled.get(id) === said(holder)) continue;
      if (this.recalled.size >= TOLD) this.recalled.clear();
      this.recalled.set(id, said(holder));
      for (const chassis of routersOn(view, network.id)) if (!this.tell(chassis, network, id.slice(at + 1), holder)) break;
    }
  }

  private say(entry: Told, holder: Holder): void {
    entry.said = said(holder);
    entry.port = holder.at.port_id;
    const now = this.host.clock.monotonic();
    entry.quietMs = now + QUIET_S * 1000;
    for (const chassis of entry.chassis.keys()) entry.chassis.set(chassis, now + NEIGHBOUR_S * 1000);
    this.host.send([...entry.chassis.keys()].map((chassis) => tellNeighbour(chassis, entry.network.key, entry.ip, placeOf(holder), this.next())));
  }

  private next(): number {
    return (this.turn = (this.turn + 1) >>> 0);
  }
}

const hasAny = (rows: Iterable<unknown>): boolean => {
  for (const _ of rows) return true;
  return false;
};

/** Chassis with ports of any network of a router on this one. */
function routersOn(view: ServiceHost["view"], network: string): ReadonlySet<string> {
  const routers = new Set(view.by(routerInterfaceTable, "network", network).map((i) => i.router_id));
  const networks = new Set([...routers].flatMap((router) => view.by(routerInterfaceTable, "router", router).map((i) => i.network_id)));
  return new Set([...networks].flatMap((id) => view.pairKeys(attachmentTable, "network_chassis", id)));
}
const placeOf = ({ mac, at }: Holder): { readonly mac: string; readonly port: number; readonly host: number } => ({ mac, port: at.port_key, host: at.host_key });
const said = ({ mac, at }: Holder): string => `${mac} ${at.port_key} ${at.host_key}`;
