// BFD sessions as they run: what the controller says to next hops in the name of gateways, from the host that has each now, and what it hears of them. A switch
// sends nothing by itself, so without a controller nobody speaks. What is known of a next hop is stored and stays as it is then, and while no host of the
// gateway is there; a controller that starts goes on with the sessions that are up.
import { isIpv6, type Cancel, type LiveView, type PacketIn, type ServiceDecl, type StageOut } from "#app";
import { bfdPorts, buildBfd, buildEthernet, buildIpv4, buildIpv6, buildUdp, ethertypes, ipProtocols, PacketError, parseBfd, parsePacket, type BfdControl } from "packet-codec";
import { activeHost, gatewayNeighbourTable, gatewayPlanTable, routerGatewayTable } from "../gateway/model.ts";
import { addressId, addressTable, networkTable, portTable } from "../l2/model.ts";
import { routerTable } from "../l3/model.ts";
import { Machine } from "./machine.ts";
import { bfdPeerTable, bfdSessionTable, sessionId, type BfdPeer, type BfdSession } from "./model.ts";
import { TTL } from "./rules.ts";

/** Seconds between looks at who is silent, and to whom to speak. */
const LOOK_S = 0.1;
/** A look that comes so much later than it should has not heard what came meanwhile. */
const LATE_MS = 400;
/** Milliseconds between packets of one session, whatever the next hop sends. */
const APART_MS = 50;
/** Packets in one look; others wait for the next. */
const AT_ONCE = 1000;
/** One that came up is used after a second; one that falls again within a minute after twice as long, and so on. */
const HOLD_MS = 1000;
const HOLD_MAX_MS = 30_000;
const STEADY_MS = 60_000;
/** Packets from outside come by no port: these are all of them. */
const WAITING_MAX = 4096;
/** Source ports. RFC 5881 section 4 */
const PORTS = { min: 49_152, count: 16_384 } as const;
/** Internetwork control, RFC 4594 section 3.2. */
const TOS = 0xc0;

interface Live {
  row: BfdSession;
  readonly machine: Machine;
  /** The host that speaks; undefined: none can. */
  host: string | undefined;
  /** Another controller is the master of the host that speaks, and knows how the session is. */
  others: boolean;
  dueMs: number;
  sentMs: number;
  /** Since when it has been up. */
  upMs: number | undefined;
  /** When it fell last, and how long it has to be up to be used. */
  fellMs: number;
  holdMs: number;
  /** What is stored of it; undefined: it was never up. */
  stored: boolean | undefined;
  /** That a packet was not taken is said once. */
  complained: boolean;
}

export const sessions: ServiceDecl = {
  name: "bfd-sessions",
  about: "speaks BFD with next hops outside in the name of gateways, and stores which of those that were up are not any more",
  start(host) {
    const { view, clock } = host;
    const live = new Map<string, Live>();
    const changed = new Map<string, Omit<BfdPeer, "id"> | undefined>();
    const discriminators = new Set<number>();
    let timer: Cancel | undefined;
    let lookedMs = 0;

    /** None that another session has, and not 0. */
    const discriminator = (): number => {
      for (;;) {
        const n = host.random.bytes(4).readUInt32BE();
        if (n !== 0 && !discriminators.has(n)) return n;
      }
    };

    const begin = (row: BfdSession): void => {
      const known = view.get(bfdPeerTable, row.id);
      const machine = new Machine(discriminator(), known?.up === true ? known : undefined);
      discriminators.add(machine.localDiscr);
      const now = clock.monotonic();
      live.set(row.id, { row, machine, host: undefined, others: false, dueMs: now + host.random.next() * 1000, sentMs: -Infinity, upMs: undefined, fellMs: -Infinity, holdMs: HOLD_MS, stored: known?.up, complained: false });
    };
    const end = (id: string): void => {
      const session = live.get(id);
      live.delete(id);
      if (session !== undefined) discriminators.delete(session.machine.localDiscr);
      changed.set(id, undefined);
      // It is not because of the path that it ends. Without its gateway it has nothing left to say it by.
      if (session?.host !== undefined) host.send(packetOf(view, session, session.machine.says({ over: true })));
    };

    const speak = (session: Live, now: number): StageOut[] => {
      const { machine, row } = session;
      const plan = view.get(gatewayPlanTable, row.gateway_id);
      const active = plan === undefined ? undefined : activeHost(host, plan);
      const interval = machine.intervalMs;
      session.dueMs = now + (interval ?? 1000) * (0.75 + 0.25 * host.random.next());
      if (active === undefined || !host.masters(active)) {
        session.host = machine.deadlineMs = undefined;
        session.others = active !== undefined;
        return [];
      }
      if (session.others) {
        // It goes on from where the other controller was, as after a start.
        discriminators.delete(machine.localDiscr);
        begin(row);
        return [];
      }
      if (session.host !== active) {
        session.host = active;
        machine.wait(now);
      }
      session.sentMs = now;
      return interval === undefined ? [] : packetOf(view, session, machine.says());
    };

    const judge = (id: string, session: Live, now: number): void => {
      const { machine, row } = session;
      if (machine.isUp) session.upMs ??= now;
      else session.upMs = undefined;
      const isUp = session.upMs !== undefined && (session.stored === true || now - session.upMs >= session.holdMs);
      if (isUp === (session.stored ?? false)) return;
      session.stored = isUp;
      changed.set(id, { gateway_id: row.gateway_id, up: isUp, ...machine.known });
      if (!isUp) {
        session.holdMs = now - session.fellMs < STEADY_MS ? Math.min(2 * session.holdMs, HOLD_MAX_MS) : HOLD_MS;
        session.fellMs = now;
      }
      session.complained = false;
      host.log.info({ router: row.router_id, network: row.network_id, nexthop: row.nexthop, diagnostic: machine.says().diagnostic }, isUp ? "BFD session is up" : "BFD session is down");
    };

    const look = async (): Promise<void> => {
      const now = clock.monotonic();
      const late = now - lookedMs - LOOK_S * 1000;
      lookedMs = now;
      const packets: StageOut[] = [];
      for (const [id, session] of live) {
        const { machine } = session;
        if (late > LATE_MS && machine.deadlineMs !== undefined) machine.deadlineMs += late;
        if (machine.silent(now)) session.dueMs = now;
        if (now >= session.dueMs && packets.length < AT_ONCE) packets.push(...speak(session, now));
        judge(id, session, now);
      }
      if (packets.length > 0) host.send(packets);
      await store();
      if (live.size > 0 || changed.size > 0) return;
      timer?.();
      timer = undefined;
    };
    const run = (): void => {
      if (timer !== undefined || live.size + changed.size === 0) return;
      lookedMs = clock.monotonic();
      timer = host.every(LOOK_S, look);
    };
    const store = async (): Promise<void> => {
      const changes = [...changed];
      changed.clear();
      if (!changes.some(([id, row]) => row !== undefined || view.get(bfdPeerTable, id) !== undefined)) return;
      await host.transact("next hops that are up by BFD, or not any more", (tx) => {
        for (const [id, row] of changes) {
          if (row === undefined) tx.delete(bfdPeerTable, id);
          else if (tx.get(routerGatewayTable, row.gateway_id) !== undefined) tx.put(bfdPeerTable, { id, ...row });
        }
      });
    };

    host.onPacket("bfd_in", (packet) => {
      const found = sessionOf(view, live, packet);
      if (found === undefined) return;
      const { session, payload } = found;
      const now = clock.monotonic();
      const complain = (reason: string): void => {
        if (!session.complained) host.log.warn({ router: session.row.router_id, network: session.row.network_id, nexthop: session.row.nexthop, reason }, "BFD packet is not taken");
        session.complained = true;
      };
      let control: BfdControl;
      try {
        control = parseBfd(payload);
      } catch (error) {
        if (!(error instanceof PacketError)) throw error;
        complain(error.message);
        return;
      }
      const heard = session.machine.heard(control, now);
      if ("refused" in heard) {
        complain(heard.refused);
        return;
      }
      if (!session.machine.isUp) session.upMs = undefined;
      if (session.host === undefined) session.machine.deadlineMs = undefined;
      else if (heard.answer && now - session.sentMs >= APART_MS) {
        session.sentMs = now;
        host.send(packetOf(view, session, session.machine.says({ final: true })));
      }
      if (heard.changed) session.dueMs = Math.min(session.dueMs, Math.max(now, session.sentMs + APART_MS));
    }, { perPort: WAITING_MAX, total: WAITING_MAX, owner: (packet) => view.get(routerTable, sessionOf(view, live, packet)?.session.row.router_id ?? "")?.project_id });

    host.onCommit([bfdSessionTable], (changes) => {
      for (const { id, after } of changes) {
        const session = live.get(id);
        if (after === undefined) end(id);
        else if (session === undefined) begin(after as BfdSession);
        else session.row = after as BfdSession;
      }
      run();
    });
    for (const row of view.by(bfdSessionTable, "all", "")) begin(row);
    for (const { id } of view.by(bfdPeerTable, "all", "")) if (!live.has(id)) changed.set(id, undefined);
    run();
    return undefined;
  },
};

/** The session that a packet is of, and what it says: from the next hop to the gateway's address, sent on the link. RFC 5881 section 5 */
function sessionOf(view: LiveView, live: ReadonlyMap<string, Live>, packet: PacketIn): { readonly session: Live; readonly payload: Uint8Array } | undefined {
  try {
    const { eth, ipv4, ipv6, udp } = parsePacket(packet.data);
    const [src, dst, ttl] = ipv4 !== undefined ? [ipv4.src, ipv4.dst, ipv4.ttl] : [ipv6?.src, ipv6?.dst, ipv6?.hop_limit];
    if (src === undefined || ttl !== TTL || udp?.dst_port !== bfdPorts.control || udp.checksumOk !== true) return undefined;
    const network = view.by(networkTable, "key", String(packet.register("net")))[0];
    const port = network === undefined ? undefined : view.by(portTable, "network_mac", `${network.id}|${eth.dst}`)[0];
    const session = port === undefined ? undefined : live.get(sessionId(port.id, src));
    return session?.row.address === dst ? { session: session!, payload: udp.payload } : undefined;
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    return undefined;
  }
}

/** To the next hop's MAC, if that is known: the app gateway asks for those. */
function packetOf(view: LiveView, { row, machine, host }: Live, control: BfdControl): StageOut[] {
  const id = addressId(row.network_id, row.nexthop);
  const port = view.get(portTable, row.gateway_id);
  const network = view.get(networkTable, row.network_id);
  const mac = view.get(gatewayNeighbourTable, id)?.mac ?? view.get(portTable, view.get(addressTable, id)?.port_id ?? "")?.mac_address;
  if (host === undefined || port === undefined || network === undefined || mac === undefined) return [];
  const ends = { src: row.address, dst: row.nexthop };
  const udp = buildUdp({ src_port: PORTS.min + (machine.localDiscr % PORTS.count), dst_port: bfdPorts.control }, buildBfd(control), ends);
  const six = isIpv6(row.nexthop);
  const ip = six ? buildIpv6({ ...ends, next_header: ipProtocols.udp, hop_limit: TTL, traffic_class: TOS }, udp) : buildIpv4({ ...ends, protocol: ipProtocols.udp, ttl: TTL, tos: TOS }, udp);
  const data = buildEthernet({ dst: mac, src: port.mac_address, ethertype: six ? ethertypes.ipv6 : ethertypes.ipv4 }, ip);
  return [{ chassis: host, stage: "forward", registers: { net: network.key, in_port_key: port.key }, data }];
}
