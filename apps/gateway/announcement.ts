// Who is outside learns where a gateway is from what it says: when another host has it, or it is new, or has other addresses, these are
// announced from there. With no controller the first frame that leaves teaches the physical switches as much.
import { isIpv6, type LiveView, type ServiceDecl, type StageOut } from "#app";
import { buildGratuitousArp, buildUnsolicitedNeighbourAdvertisement } from "packet-codec";
import { activeHost, ofGateway, presenceOf, seenAlive, whileGateways } from "./activity.ts";
import { gatewayAddressTable, gatewayPlanTable, gatewayReadyTable, type GatewayPlan } from "./model.ts";

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
/** Gateways that are announced in one look; others wait for the next. */
const AT_ONCE = 200;

interface Known {
  /** Host, MAC and addresses as they were announced. */
  said: string;
  active: string;
  /** Whether the others knew, when it was said, that the host is ready. */
  alone: boolean;
  times: number;
  dueMs: number;
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
      let announced = 0;
      for (const plan of host.view.all(gatewayPlanTable)) {
        if (announced >= AT_ONCE) break;
        const active = activeHost(host, plan);
        if (active === undefined || !host.masters(active)) continue;
        const saying = sayingOf(plan, active);
        if (saying === undefined) continue;
        let entry = known.get(plan.id);
        if (entry === undefined) known.set(plan.id, (entry = { said: "", active, alone: false, times: 0, dueMs: 0 }));
        const alone = plan.kind === "interface" && host.view.get(gatewayReadyTable, active)?.fellows === true;
        if (entry.said !== saying.text || (alone && !entry.alone)) {
          const handed = plan.kind === "gateway" && entry.active !== active && isHandedOver(host.view, plan, entry.active, active);
          Object.assign(entry, { said: saying.text, active, times: 0, dueMs: handed ? now + HANDOVER_S * 1000 : now });
        }
        entry.alone = alone;
        const after = plan.kind === "interface" ? INTERFACE_AFTER_S : AFTER_S;
        if (entry.times >= after.length || now < entry.dueMs) continue;
        packets.push(...saying.packets);
        entry.times++;
        entry.dueMs = now + ((after[entry.times] ?? 0) - after[entry.times - 1]!) * 1000;
        announced++;
      }
      if (packets.length > 0) host.send(packets);
      if (known.size > 2 * host.view.count(gatewayPlanTable, "all", "") + 16) for (const id of known.keys()) if (host.view.get(gatewayPlanTable, id) === undefined) known.delete(id);
    };
    const sayingOf = (plan: GatewayPlan, active: string): { readonly text: string; readonly packets: StageOut[] } | undefined => {
      const presence = presenceOf(host.view, plan);
      if (presence === undefined) return undefined;
      const { port: { mac_address: own } } = presence;
      const further = host.view.by(gatewayAddressTable, "gateway", plan.id).filter((a) => a.at === undefined).toSorted((a, b) => (a.id < b.id ? -1 : 1));
      const addresses = [...presence.addresses.map((address) => ({ address, mac: own })), ...further.map(({ ip, mac }) => ({ address: ip, mac }))];
      return {
        text: [active, ...addresses.flatMap(({ mac, address }) => [mac, address])].join(" "),
        packets: addresses.map(({ mac, address }) => ({
          chassis: active, stage: "forward", registers: ofGateway(presence), data: isIpv6(address) ? buildUnsolicitedNeighbourAdvertisement({ mac, address, router: true }) : buildGratuitousArp({ mac, address }),
        })),
      };
    };
    whileGateways(host, LOOK_S, look);
    return undefined;
  },
};

/** Whether a host that lives hands over to another, since one of both is told to: what was reached by it goes on being so for a while. */
function isHandedOver(view: LiveView, plan: GatewayPlan, from: string, to: string): boolean {
  return seenAlive(view, plan, from) === true && (view.get(gatewayReadyTable, from)?.users !== true || view.get(gatewayReadyTable, to)?.fellows !== true);
}
