// Who is outside learns where a gateway is from what it says: when another host has it, or it is new, its addresses are announced from there; an
// address that comes to it is announced alone, however many it has. With no controller the first frame that leaves teaches the physical switches as much.
import { isIpv6, type LiveView, type ServiceDecl, type StageOut } from "#app";
import { buildGratuitousArp, buildUnsolicitedNeighbourAdvertisement } from "packet-codec";
import { ofGateway, presenceOf, whileGateways, type Presence } from "./activity.ts";
import { activeHost, gatewayAddressTable, gatewayPlanTable, gatewayReadyTable, seatsOf, seenAlive, type GatewayPlan } from "./model.ts";

/** Seconds between looks: what switches see of each other is a second old at most. */
const LOOK_S = 0.2;
/** Seconds after which it is said, again and again: the first may be lost, or come before flows. */
const AFTER_S = [0, 1, 3] as const;
/** Likewise of an interface: the host before sends with its MAC until it hears of this one. */
const INTERFACE_AFTER_S = [0, 0.2, 0.4, 0.6, 1, 3] as const;
/** Seconds after the start until it is known what switches see of each other: what is said before may be of a host that is dead. */
const START_S = 3;
/** Seconds until all users have heard that a host hands over to another: what is announced before leads answers there too early. */
const HANDOVER_S = 0.4;
/** Addresses that are announced in one look; others wait for the next. */
const AT_ONCE = 1000;

/** How often an address was announced since it was new, or had another host or MAC, and when it is again. */
interface Said {
  mac: string;
  times: number;
  dueMs: number;
}
interface Known {
  active: string;
  /** Whether the others know that the host is ready. */
  alone: boolean;
  /** Nothing is announced before. */
  heldMs: number;
  readonly addresses: Map<string, Said>;
}

export const announcement: ServiceDecl = {
  name: "gateway-announcement",
  about: "announces the addresses of gateways outside, from the host that has them now",
  start(host) {
    const known = new Map<string, Known>();
    const startedMs = host.clock.monotonic();
    const look = (): void => {
      const now = host.clock.monotonic();
      if (now - startedMs < START_S * 1000) return;
      const packets: StageOut[] = [];
      for (const { plan, key } of seats()) {
        if (packets.length >= AT_ONCE) break;
        const active = activeHost(host, plan);
        if (active === undefined) continue;
        const presence = presenceOf(host.view, plan);
        if (presence === undefined) continue;
        let entry = known.get(key);
        if (entry === undefined) known.set(key, (entry = { active, alone: false, heldMs: now, addresses: new Map() }));
        const alone = plan.kind === "interface" && host.view.get(gatewayReadyTable, active)?.fellows === true;
        if (entry.active !== active || (alone && !entry.alone)) {
          const handed = plan.kind === "gateway" && entry.active !== active && isHandedOver(host.view, plan, entry.active, active);
          Object.assign(entry, { active, heldMs: handed ? now + HANDOVER_S * 1000 : now });
          entry.addresses.clear();
        }
        entry.alone = alone;
        // Another controller says it; from whom the next one takes over is known here too.
        if (!host.masters(active)) {
          entry.addresses.clear();
          continue;
        }
        const after = plan.kind === "interface" ? INTERFACE_AFTER_S : AFTER_S;
        const addresses = addressesOf(presence);
        for (const { address, mac } of addresses) {
          if (packets.length >= AT_ONCE) break;
          let said = entry.addresses.get(address);
          if (said?.mac !== mac) entry.addresses.set(address, (said = { mac, times: 0, dueMs: Math.max(now, entry.heldMs) }));
          if (said.times >= after.length || now < said.dueMs) continue;
          packets.push(packetOf(presence, active, mac, address));
          said.times++;
          said.dueMs = now + ((after[said.times] ?? 0) - after[said.times - 1]!) * 1000;
        }
        // What it has no more would be new again.
        if (entry.addresses.size > addresses.length) {
          const there = new Set(addresses.map((a) => a.address));
          for (const address of entry.addresses.keys()) if (!there.has(address)) entry.addresses.delete(address);
        }
      }
      if (packets.length > 0) host.send(packets);
      if (known.size > 2 * host.view.count(gatewayPlanTable, "all", "") + 16) {
        const there = new Set(Array.from(seats(), (seat) => seat.key));
        for (const key of known.keys()) if (!there.has(key)) known.delete(key);
      }
    };
    /** Plans, and those on several segments once for each of these. */
    function* seats(): Generator<{ readonly plan: GatewayPlan; readonly key: string }> {
      for (const plan of host.view.all(gatewayPlanTable)) for (const [n, seat] of seatsOf(plan).entries()) yield { plan: seat, key: `${plan.id}/${n}` };
    }
    /** Its own, and what others have of it, each with the MAC that it is at. */
    const addressesOf = ({ plan, port: { mac_address: own }, addresses }: Presence): readonly { readonly address: string; readonly mac: string }[] => {
      const further = host.view.by(gatewayAddressTable, "gateway", plan.id).filter((a) => a.at === undefined).toSorted((a, b) => (a.id < b.id ? -1 : 1));
      return [...addresses.map((address) => ({ address, mac: own })), ...further.map(({ ip, mac }) => ({ address: ip, mac }))];
    };
    const packetOf = (presence: Presence, chassis: string, mac: string, address: string): StageOut => ({
      chassis, stage: "forward", registers: ofGateway(presence), data: isIpv6(address) ? buildUnsolicitedNeighbourAdvertisement({ mac, address, router: true }) : buildGratuitousArp({ mac, address }),
    });
    whileGateways(host, LOOK_S, look);
    return undefined;
  },
};

/** Whether a host that lives hands over to another, since one of both is told to: what was reached by it goes on being so for a while. */
function isHandedOver(view: LiveView, plan: GatewayPlan, from: string, to: string): boolean {
  return seenAlive(view, plan, from) === true && (view.get(gatewayReadyTable, from)?.users !== true || view.get(gatewayReadyTable, to)?.fellows !== true || view.get(gatewayReadyTable, to)?.shared === true);
}
