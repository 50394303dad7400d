// Neighbours outside. Next hops are asked for in advance, by the host that has the gateway, and again and again; others when there is a packet for
// one. Whoever answered is stored, so that all hosts of the network's gateways know it, those that stand by among them, and go on knowing it when no
// controller lives. Only what was asked for is stored, and so much of each network. Other gateways and floating IPs there need no question: the
// model lists them, and that somebody sends to one is stored.
import { contains, isIpv6, learned, parseCidr, parseIp, Shares, type Ip, type PacketIn, type ServiceDecl, type ReadView, type ServiceHost, type StageOut, type Tx } from "#app";
import { PacketError, parsePacket } from "packet-codec";
import { addressId, addressTable, deviceOwner, isNetworkPort, networkTable, portTable, saidIn } from "../l2/model.ts";
import { hostUnreachable, legTable, questionFor, routerTable, routeTable, wantedNeighbourTable } from "../l3/model.ts";
import { ofGateway, presenceOf, whileGateways } from "./activity.ts";
import { activeHost, gatewayAddressTable, gatewayNeighbourTable, gatewayPlanTable, legId, seatsOf, type GatewayNeighbour, type GatewayPlan } from "./model.ts";
import { NextHopWatch, sharedHops, WATCH_S } from "./multihoming/next-hops.ts";

/** Seconds between looks at what was answered, and at whom to ask. */
const LOOK_S = 0.1;
const ROUND_S = 1;
/** Questions for one neighbour, and seconds between them. RFC 4861 section 10: MAX_MULTICAST_SOLICIT, RETRANS_TIMER */
const QUESTIONS = 3;
const QUESTION_S = 1;
/** Seconds until one that answered is asked again. */
const AGAIN_S = 10;
/** One that did not answer so many times in a row, all questions of each, is forgotten. */
const MISSED_MAX = 3;
/** Neighbours of one network; asked for at a time because of packets, in all; packets that wait for one. */
export const NEIGHBOURS_MAX = 256;
/** Of those of one network that the model lists: then another is forgotten. */
const LISTED_MAX = 4096;
const ASKED_MAX = 512;
const WAITING_MAX = 8;

interface Question {
  readonly network: string;
  /** Whose packets it is for; "": it is a next hop. */
  readonly project: string;
  readonly ip: string;
  readonly waiting: PacketIn[];
  /** Another controller is the master of the host that asks, and has heard of the packet: who answered is in the store then. */
  elsewhere: boolean;
  asked: number;
  dueMs: number;
}

export const outsideNeighbours: ServiceDecl = {
  name: "outside-neighbours",
  about: "asks for neighbours of gateways that the model does not list, next hops in advance, and stores who answered",
  start(host) {
    const questions = new Map<string, Question>();
    /** Those of them that are there because of packets: each project has its share. */
    const asked = new Shares<true>(ASKED_MAX);
    const forget = (id: string): void => {
      questions.delete(id);
      asked.delete(id);
    };
    const answers = new Map<string, GatewayNeighbour>();
    /** Listed ones that somebody sends to, until that is stored. */
    const sentTo = new Map<string, GatewayNeighbour>();
    /** When who answered, or did not, is asked again. */
    const due = new Map<string, number>();
    /** Times in a row that one was asked, and did not answer any of the questions. */
    const missed = new Map<string, number>();
    /** Next hops, as of the last round. */
    const isHop = new Set<string>();
    const watch = new NextHopWatch(host);
    const againAt = (id: string): number => host.clock.monotonic() + (watch.has(id) ? WATCH_S : AGAIN_S) * 1000;

    const askNow = (id: string, question: Question): void => {
      const plans = host.view.by(gatewayPlanTable, "network", question.network);
      const plan = nextHops(host, plans).get(question.ip) ?? plans.find((p) => isOnLink(host, p, question.ip));
      const all = plan === undefined ? [] : seatsOf(plan).flatMap((seat) => activeHost(host, seat) ?? []);
      const actives = all.filter((active) => host.masters(active));
      if (plan === undefined || (actives.length === 0 && !(question.elsewhere && all.length > 0))) {
        forget(id);
        return;
      }
      question.elsewhere = actives.length === 0;
      question.asked++;
      question.dueMs = host.clock.monotonic() + QUESTION_S * 1000;
      for (const active of actives) ask(host, plan, active, question.ip);
    };
    /** Routers that wait for it go on. */
    const answered = (id: string, network_id: string, ip: string, mac: string): void => {
      if (host.view.fact(wantedNeighbourTable, id)?.mac === "") host.learn([learned(wantedNeighbourTable, "answered", { id, network_id, ip, mac })]);
    };

    host.onPacket("gateway_in", (packet) => {
      const said = saidIn(packet.data);
      const network = host.view.by(networkTable, "key", String(packet.register("net")))[0];
      if (said === undefined || network === undefined) return;
      const id = addressId(network.id, said.ip);
      // Next hops may say so at any time, others when they are asked.
      if (!(questions.has(id) || isHop.has(id)) || host.view.get(addressTable, id) !== undefined || answers.size >= ASKED_MAX || isOurs(host.view, network.id, said.mac)) return;
      answers.set(id, { id, network_id: network.id, ip: said.ip, mac: said.mac });
    });

    host.onPacket("gateway_unresolved", (packet) => {
      const network = host.view.by(networkTable, "key", String(packet.register("net")))[0];
      const plan = network === undefined ? undefined : planOf(host.view, network.id, packet);
      const ip = packet.register("nexthop");
      if (network === undefined || plan === undefined || !isOnLink(host, plan, ip)) return;
      // Of a floating IP it may come from a host that has no gateway. Every controller hears of it: the host's own master keeps the packet, and who may asks.
      const mine = host.masters(packet.chassis);
      const active = activeHost(host, plan);
      const from = [plan.hosts.includes(packet.chassis) ? packet.chassis : undefined, active].find((one) => one !== undefined && host.masters(one));
      const id = addressId(network.id, ip);
      const listed = listedAs(host.view, network.id, ip);
      if (listed !== undefined) {
        if (mine && sentTo.size < ASKED_MAX) sentTo.set(id, listed);
        if (mine) host.send([forwarded(packet, listed.mac)]);
        return;
      }
      const known = host.view.get(gatewayNeighbourTable, id);
      if (known !== undefined) {
        if (mine) host.send([forwarded(packet, known.mac)]);
        return;
      }
      let question = questions.get(id);
      if (question === undefined) {
        const project = host.view.get(routerTable, plan.router_id)?.project_id ?? "";
        if ((from === undefined && (!mine || active === undefined)) || !asked.admits(project)) return;
        const gone = asked.put(id, project, true);
        if (gone !== undefined) questions.delete(gone[0]);
        questions.set(id, (question = { network: network.id, project, ip, waiting: [], elsewhere: from === undefined, asked: 1, dueMs: host.clock.monotonic() + QUESTION_S * 1000 }));
        if (from !== undefined) ask(host, plan, from, ip);
      }
      if (mine && question.waiting.length < WAITING_MAX) question.waiting.push(packet);
    });

    // Whoever asked, and was answered.
    host.onCommit([gatewayNeighbourTable], (changes) => {
      for (const { id, after } of changes) {
        const question = after === undefined ? undefined : questions.get(id);
        if (question === undefined || question.waiting.length === 0) continue;
        forget(id);
        host.send(question.waiting.map((packet) => forwarded(packet, (after as GatewayNeighbour).mac)));
      }
    });

    whileGateways(host, LOOK_S, async () => {
      for (const { id, network_id, ip, mac } of host.view.facts(wantedNeighbourTable)) {
        if (mac !== "" || host.view.get(addressTable, id) !== undefined) continue;
        const known = host.view.get(gatewayNeighbourTable, id);
        if (known !== undefined) answered(id, network_id, ip, known.mac);
        else if (!questions.has(id)) questions.set(id, { network: network_id, project: "", ip, waiting: [], elsewhere: false, asked: 0, dueMs: 0 });
        const question = questions.get(id);
        // Others wait for the next round.
        if (question?.asked === 0) askNow(id, question);
      }
      if (sentTo.size > 0) {
        const rows = [...sentTo.values()];
        sentTo.clear();
        await host.transact("sent to others outside", (tx) => {
          for (const row of rows) keepListed(tx, row);
        });
      }
      if (answers.size === 0) return;
      const list = [...answers.values()];
      answers.clear();
      const fresh: GatewayNeighbour[] = [];
      for (const { id, network_id, ip, mac } of list) {
        const had = host.view.get(gatewayNeighbourTable, id);
        const hop = isHop.has(id);
        if (had?.mac !== mac || (hop && had.hop !== true)) fresh.push({ id, network_id, ip, mac, project_id: had?.project_id ?? questions.get(id)?.project ?? "", ...(hop && { hop }) });
      }
      for (const { id, network_id, ip, mac } of list) {
        const question = questions.get(id);
        if (question !== undefined && question.asked > 0) watch.answered(id);
        forget(id);
        answered(id, network_id, ip, mac);
        if (question !== undefined && question.waiting.length > 0) host.send(question.waiting.map((packet) => forwarded(packet, mac)));
        due.set(id, againAt(id));
        missed.delete(id);
      }
      await watch.store();
      if (fresh.length === 0) return;
      await host.transact("neighbours outside answered", (tx) => {
        for (const row of fresh) keepAnswered(tx, row);
      });
    });

    whileGateways(host, ROUND_S, async () => {
      const now = host.clock.monotonic();
      const gone: string[] = [];
      isHop.clear();
      const watched = new Map<string, { readonly network_id: string; readonly ip: string }>();
      for (const network of networksOf(host)) {
        const plans = host.view.by(gatewayPlanTable, "network", network);
        const hops = nextHops(host, plans);
        for (const ip of hops.keys()) isHop.add(addressId(network, ip));
        for (const row of host.view.by(gatewayNeighbourTable, "listed", network)) if (plans.length === 0 || listedAs(host.view, network, row.ip)?.mac !== row.mac) gone.push(row.id);
        for (const ip of sharedHops(host.view, plans)) if (hops.has(ip)) watched.set(addressId(network, ip), { network_id: network, ip });
        const stored = host.view.by(gatewayNeighbourTable, "network", network);
        for (const row of stored) if (plans.length === 0 || host.view.get(addressTable, row.id) !== undefined) gone.push(row.id);
        for (const ip of plans.length === 0 ? [] : new Set([...hops.keys(), ...stored.map((s) => s.ip)])) {
          const id = addressId(network, ip);
          const listed = host.view.get(gatewayNeighbourTable, id) === undefined ? listedAs(host.view, network, ip) : undefined;
          if (listed !== undefined) sentTo.set(id, listed);
          if (host.view.get(addressTable, id) !== undefined || questions.has(id) || now < (due.get(id) ?? 0)) continue;
          questions.set(id, { network, project: "", ip, waiting: [], elsewhere: false, asked: 0, dueMs: 0 });
        }
      }
      watch.round(watched);
      for (const [id, question] of questions) {
        if (now < question.dueMs) continue;
        if (question.asked >= QUESTIONS) {
          forget(id);
          if (question.elsewhere) {
            host.send(question.waiting.flatMap((packet) => unreachable(host, packet)));
            continue;
          }
          due.set(id, againAt(id));
          watch.missed(id);
          host.send(question.waiting.flatMap((packet) => unreachable(host, packet)));
          const plans = host.view.by(gatewayPlanTable, "network", question.network);
          missed.set(id, (missed.get(id) ?? 0) + 1);
          // A next hop that does not answer may be silent, as may one that is not up yet: there is nobody else to send to.
          if (host.view.get(gatewayNeighbourTable, id) !== undefined && missed.get(id)! >= MISSED_MAX && !nextHops(host, plans).has(question.ip)) gone.push(id);
          continue;
        }
        askNow(id, question);
      }
      for (const [id, atMs] of due) {
        if (atMs >= now - 60_000) continue;
        due.delete(id);
        missed.delete(id);
      }
      await watch.store();
      if (gone.length > 0) {
        await host.transact("neighbours outside are gone", (tx) => {
          for (const id of gone) tx.delete(gatewayNeighbourTable, id);
        });
      }
    });
    return undefined;
  },
};

/** Of a port of the network's own, which its hosts alone know. */
function listedAs(view: ReadView, network_id: string, ip: string): GatewayNeighbour | undefined {
  const id = addressId(network_id, ip);
  const port = view.get(portTable, view.get(addressTable, id)?.port_id ?? "");
  return port !== undefined && isNetworkPort(port) ? { id, network_id, ip, mac: port.mac_address, listed: true } : undefined;
}

/** Next hops have room of their own. Of the others each project has its share: where there is no room the one with most gives its first. */
export function keepAnswered(tx: Tx, row: GatewayNeighbour): void {
  const all = tx.by(gatewayNeighbourTable, "network", row.network_id).filter((n) => n.id !== row.id && (n.hop === true) === (row.hop === true));
  if (tx.get(gatewayNeighbourTable, row.id) === undefined && all.length >= NEIGHBOURS_MAX) {
    if (row.hop === true) return;
    const of = new Map<string, GatewayNeighbour[]>();
    for (const n of all) of.set(n.project_id ?? "", [...(of.get(n.project_id ?? "") ?? []), n]);
    const most = [...of.values()].reduce((a, b) => (b.length > a.length ? b : a));
    if (most.length <= (of.get(row.project_id ?? "")?.length ?? 0) + 1) return;
    tx.delete(gatewayNeighbourTable, most[0]!.id);
  }
  tx.put(gatewayNeighbourTable, row);
}

function keepListed(tx: Tx, row: GatewayNeighbour): void {
  if (tx.get(gatewayNeighbourTable, row.id) !== undefined) return;
  const all = tx.by(gatewayNeighbourTable, "listed", row.network_id);
  if (all.length >= LISTED_MAX) tx.delete(gatewayNeighbourTable, all[0]!.id);
  tx.put(gatewayNeighbourTable, row);
}

/** By such a MAC packets that leave would come in again, until their lifetime ends. */
function isOurs(view: ServiceHost["view"], networkId: string, mac: string): boolean {
  const owner = view.by(portTable, "network_mac", `${networkId}|${mac}`)[0]?.device_owner;
  return owner === deviceOwner.routerGateway || owner === deviceOwner.floatingIp;
}

/** Where there are gateways, or who answered for some. */
const networksOf = ({ view }: ServiceHost): ReadonlySet<string> => new Set([...view.by(gatewayPlanTable, "all", ""), ...view.by(gatewayNeighbourTable, "all", "")].map((row) => row.network_id));

/** Next hops by the gateways of a network, each with one that leads there. */
function nextHops(host: ServiceHost, plans: readonly GatewayPlan[]): Map<string, GatewayPlan> {
  const hops = new Map<string, GatewayPlan>();
  for (const plan of plans) {
    for (const { via, nexthop } of host.view.by(routeTable, "router", plan.router_id)) if (via === plan.network_id && nexthop !== null && !hops.has(nexthop) && isOnLink(host, plan, nexthop)) hops.set(nexthop, plan);
  }
  return hops;
}

function isOnLink({ view }: ServiceHost, plan: GatewayPlan, text: string): boolean {
  const ip = parseIp(text);
  // A router may have a port for each family.
  const here = view.get(legTable, legId(plan))?.addresses.filter((a) => isIpv6(a.ip) === isIpv6(text)) ?? [];
  return ip !== undefined && (here.some(({ cidr }) => contains(parseCidr(cidr)!, ip)) || (text.startsWith("fe80:") && here.length > 0));
}

/** In the name of the gateway, whose host answers come to. */
function ask(host: ServiceHost, plan: GatewayPlan, chassis: string, ip: string): void {
  const presence = presenceOf(host.view, plan);
  const from = presence?.addresses.find((a) => isIpv6(a) === isIpv6(ip));
  if (presence === undefined || from === undefined) return;
  host.send([{ chassis, stage: "forward", registers: ofGateway(presence), data: questionFor(ip, { mac: presence.port.mac_address, ip: from }) }]);
}

/** The packet as it waited, on as if the neighbour had been known. */
function forwarded(packet: PacketIn, mac: string): StageOut {
  const data = Buffer.from(packet.data);
  Buffer.from(mac.replaceAll(":", ""), "hex").copy(data);
  return { chassis: packet.chassis, stage: "forward", registers: { net: packet.register("net"), in_port_key: packet.register("in_port_key") }, data };
}

/** Told to the sender by its router, from the address that it knows the router by, if it has one there. */
function unreachable({ view }: ServiceHost, packet: PacketIn): StageOut[] {
  const network = view.by(networkTable, "key", String(packet.register("net")))[0];
  const plan = network === undefined ? undefined : planOf(view, network.id, packet);
  const router = plan === undefined ? undefined : view.get(routerTable, plan.router_id);
  const src = sourceOf(packet.data);
  if (plan === undefined || router === undefined || src === undefined) return [];
  const legs = view.by(legTable, "router", router.id).flatMap(({ mac, addresses }) => addresses.map((a) => ({ mac, address: a.ip, cidr: parseCidr(a.cidr)! })));
  const own = legs.find((leg) => contains(leg.cidr, src)) ?? legs.find((leg) => leg.cidr.family === src.family);
  const data = own === undefined ? undefined : hostUnreachable(packet.data, own);
  return data === undefined ? [] : [{ chassis: packet.chassis, stage: "route", registers: { router: router.key, net: packet.register("net") }, data }];
}

function sourceOf(data: Uint8Array): Ip | undefined {
  try {
    const { ipv4, ipv6 } = parsePacket(data);
    const src = (ipv4 ?? ipv6)?.src;
    return src === undefined ? undefined : parseIp(src);
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    return undefined;
  }
}

/** The gateway by which a packet was to leave: it is from there by now, or from a further address of its router. */
function planOf(view: ServiceHost["view"], networkId: string, packet: PacketIn): GatewayPlan | undefined {
  const mac = macAt(packet.data, 6);
  const own = view.by(portTable, "network_mac", `${networkId}|${mac}`)[0];
  const ids = [...(own === undefined ? [] : [own.id]), ...view.by(gatewayAddressTable, "mac", mac).map((a) => a.gateway_id)];
  return ids.map((id) => view.get(gatewayPlanTable, id)).find((plan) => plan?.network_id === networkId);
}

const macAt = (frame: Uint8Array, at: number): string => Array.from(frame.subarray(at, at + 6), (byte) => byte.toString(16).padStart(2, "0")).join(":");
