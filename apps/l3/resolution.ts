// Neighbours that the model does not list: an address of a pair that several ports have, or one of a prefix; what is behind a port without
// port security. A router that has a packet for one asks in the network by ARP or neighbour discovery, up to three times, keeps the packet
// meanwhile, and tells the switch who answered: it keeps that for a while (l2's tellNeighbour), so that only the first packet comes here.
// Nobody who may have it, or no answer: host unreachable. What switches were told, and are told when it changes, is beliefs.ts's.
import { chassisTable, contains, isIpv6, learned, parseCidr, parseIp, Shares, type PacketIn, type ServiceDecl, type ServiceHost, type StageOut } from "#app";
import { PacketError, parsePacket } from "packet-codec";
import { addressId, attachmentTable, claimant, heardNeighbourTable, learningTable, mayClaim, senderOf } from "../l2/model.ts";
import { Beliefs, heardHolder, type HeardHolder } from "./beliefs.ts";
import { legTable, liveRouterTable, undelivered, wantedNeighbourTable } from "./model.ts";
import { questionFor } from "./questions.ts";
import { errorAbout, isBroadcastOf, partiesOf, payer, type Parties } from "./packet-in.ts";
import { l3 } from "./tables.ts";

/** Questions for one neighbour, and seconds between them. RFC 4861 section 10: MAX_MULTICAST_SOLICIT, RETRANS_TIMER */
const QUESTIONS = 3;
const QUESTION_S = 1;
/** Neighbours asked for at a time: in all, of which each sender's project has its share, and because of one sender. */
const ASKED = 1024;
const ASKED_PER_PORT = 32;
/** Packets that wait for a neighbour; each sender has its share. */
const WAITING = 8;
/** Hosts that are asked one by one, where it cannot be asked in the network as a whole. */
const HOSTS_ASKED = 32;
/** Seconds between looks at what was heard. */
const LOOK_S = 0.02;

interface Waiting {
  readonly packet: PacketIn;
  readonly parties: Parties;
}
interface Question {
  readonly network: { readonly id: string; readonly key: number };
  readonly router: string;
  readonly ip: string;
  /** Somebody may have it whom the model ends before: another app asks. */
  readonly beyond: boolean;
  readonly sender: string;
  /** Chassis at which the first packet for it was. */
  readonly from: string;
  readonly waiting: Shares<Waiting>;
  asked: number;
  dueMs: number;
}
export const resolution: ServiceDecl = {
  name: "neighbour-resolution",
  about: "asks for next hops that the model does not list, and tells switches who answered",
  start(host) {
    const asked = new Shares<Question>(ASKED);
    const bySender = new Map<string, number>();
    const told = new Beliefs(host);
    let arrived = 0;

    const begin = (key: string, question: Question, project: string): void => {
      if (asked.size === 0) host.after(LOOK_S, look);
      const gone = asked.put(key, project, question);
      if (gone !== undefined) left(gone[1]);
      bySender.set(question.sender, (bySender.get(question.sender) ?? 0) + 1);
    };
    const left = ({ sender }: Question): void => {
      const others = (bySender.get(sender) ?? 1) - 1;
      if (others > 0) bySender.set(sender, others);
      else bySender.delete(sender);
    };
    const look = (): void => {
      for (const [key, question] of asked) {
        const holder = holderOf(question);
        if (holder === undefined && host.clock.monotonic() < question.dueMs) continue;
        if (holder === undefined && question.asked < QUESTIONS && ask(host, question)) continue;
        asked.delete(key);
        left(question);
        answer(question.waiting.values(), question, holder);
      }
      if (asked.size > 0) host.after(LOOK_S, look);
    };
    /** Who is heard to have it, and who answered where the model ends. */
    const holderOf = ({ network, ip, beyond }: Pick<Question, "network" | "ip" | "beyond">): HeardHolder | string | undefined => {
      const mac = beyond ? host.view.fact(wantedNeighbourTable, addressId(network.id, ip))?.mac : "";
      return heardHolder(host.view, network.id, ip) ?? (mac === "" ? undefined : mac);
    };
    const answer = (waiting: Iterable<Waiting>, { network, ip }: Pick<Question, "network" | "ip">, holder: HeardHolder | string | undefined): void => {
      for (const { packet, parties } of waiting) {
        if (holder === undefined) host.send(errorAbout(packet, undelivered.unresolved, parties, host.view, host.log, senderMac(host, packet, parties)));
        else if (typeof holder === "string") host.send([onward(packet, holder)]);
        else {
          // One that a switch is not told of is reached all the same, as often as its senders may come here.
          told.tell([packet.chassis], network, ip, holder, payer(parties).project);
          host.send([forwarded(packet, holder)]);
        }
      }
    };
    const wait = (question: Question, packet: Waiting): void => {
      const { id } = payer(packet.parties);
      if (question.waiting.admits(id)) question.waiting.put(String(arrived++), id, packet);
    };

    host.onPacket("l3_undelivered", (packet) => {
      if (packet.register("undelivered", l3) !== undelivered.unresolved) return;
      const parties = partiesOf(packet, host.view);
      if (parties === undefined) return;
      const { network, router } = parties;
      const { id: sender, project } = payer(parties);
      const ip = packet.register("nexthop");
      if (isBroadcast(host, router.id, network.id, ip)) return;
      const key = addressId(network.id, ip);
      const beyond = endsAt(host, network.id);
      const holder = holderOf({ network, ip, beyond });
      if (!host.masters(packet.chassis)) {
        // Who is beyond may be asked for by this controller, as that of a host which is there.
        if (beyond && holder === undefined && host.view.fact(wantedNeighbourTable, key) === undefined) host.learn([learned(wantedNeighbourTable, sender, { id: key, network_id: network.id, ip, mac: "" })]);
        return;
      }
      const known = holder === undefined ? asked.get(key) : undefined;
      // Before anybody looks for who may have it, among what may be thousands of ports.
      if (known !== undefined) {
        wait(known, { packet, parties });
        return;
      }
      if (holder !== undefined || (!beyond && claimant(host.view, network.id, ip) === undefined)) {
        answer([{ packet, parties }], { network, ip }, holder);
        return;
      }
      if (!asked.admits(project) || (bySender.get(sender) ?? 0) >= ASKED_PER_PORT) return;
      const question: Question = { network, router: router.id, ip, beyond, sender, from: packet.chassis, waiting: new Shares(WAITING), asked: 0, dueMs: 0 };
      wait(question, { packet, parties });
      if (ask(host, question)) begin(key, question, project);
    }, { owner: (packet) => senderOf(host.view, packet)?.project_id });
    host.onCommit([learningTable], () => told.watch());
    told.watch();
    return undefined;
  },
};

/** Sends a question into the network. False: the router, or everybody who may have the address, is gone. */
function ask(host: ServiceHost, question: Question): boolean {
  const { network, ip } = question;
  const at = claimant(host.view, network.id, ip);
  const target = parseIp(ip);
  const legs = host.view.by(legTable, "router", question.router).filter((l) => l.network_id === network.id).sort((a, b) => (a.id < b.id ? -1 : 1));
  const own = legs.flatMap(({ mac, addresses }) => addresses.filter((a) => isIpv6(a.ip) === isIpv6(ip)).map((a) => ({ mac, ...a })));
  const from = target === undefined ? undefined : (own.find((a) => contains(parseCidr(a.cidr)!, target)) ?? own[0]);
  if ((at === undefined && !question.beyond) || target === undefined || from === undefined) return false;
  const router = host.view.get(liveRouterTable, question.router);
  if (router === undefined) return false;
  question.asked++;
  question.dueMs = host.clock.monotonic() + QUESTION_S * 1000;
  if (question.beyond) host.learn([learned(wantedNeighbourTable, question.sender, { id: addressId(network.id, ip), network_id: network.id, ip, mac: "" })]);
  if (at !== undefined) host.send(questionsTo(host, question, at.chassis, router.key, questionFor(ip, from)));
  return true;
}

/** By a chassis that has the network, which floods it. Where another controller is the master of each of them: to one after the other, by the one that the packet is at. */
function questionsTo(host: ServiceHost, { network, from }: Question, at: string, router: number, data: Buffer): StageOut[] {
  const { view } = host;
  const all = view.pairKeys(attachmentTable, "network_chassis", network.id);
  const by = host.masters(at) ? at : all.find((id) => host.masters(id));
  if (by !== undefined) return [{ chassis: by, stage: "forward", registers: { net: network.key, router }, data }];
  return all.slice(0, HOSTS_ASKED).flatMap((id) => {
    const there = view.get(chassisTable, id);
    return there === undefined ? [] : [{ chassis: from, stage: "locate", registers: { net: network.key, out_host: there.key }, data }];
  });
}

/** The packet as it waited, on as if the neighbour had been known. */
function forwarded(packet: PacketIn, { mac, at }: HeardHolder): StageOut {
  const frame = Buffer.from(packet.data);
  Buffer.from(mac.replaceAll(":", ""), "hex").copy(frame);
  return { chassis: packet.chassis, stage: "locate", registers: { net: packet.register("net"), in_port_key: packet.register("in_port_key"), out_port_key: at.port_key, out_host: at.host_key }, data: frame };
}

/** The same where the model does not say where that is. */
function onward(packet: PacketIn, mac: string): StageOut {
  const frame = Buffer.from(packet.data);
  Buffer.from(mac.replaceAll(":", ""), "hex").copy(frame);
  return { chassis: packet.chassis, stage: "forward", registers: { net: packet.register("net"), in_port_key: packet.register("in_port_key"), router: packet.register("router") }, data: frame };
}

/** Whether there is more on a network than the model lists, and another app asks for it. */
const endsAt = ({ view }: ServiceHost, networkId: string): boolean => view.by(legTable, "network", networkId).some((leg) => leg.tells === true);

/** The MAC of who sent it: the packet has the router's by now. */
function senderMac({ view }: ServiceHost, packet: PacketIn, { sender, home }: Parties): string | undefined {
  if (sender === undefined || home === undefined) return undefined;
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

/** Whether an address is nobody's in a subnet of the router's on the network. */
function isBroadcast({ view }: ServiceHost, router: string, network: string, text: string): boolean {
  const ip = parseIp(text);
  return ip !== undefined && view.by(legTable, "router", router).some((leg) => leg.network_id === network && leg.addresses.some(({ cidr }) => isBroadcastOf(cidr, ip)));
}
