// The bridge of a physical network learns where a MAC is from the first frame of a flow; of a flow that its switch has cached from when this host
// had the gateway before, only after half a second. Until then it takes the gateway to be out there, and drops what comes from there for it. So before
// users are told to use another host, the bridge there is told by a frame from the gateway to the host's own MAC. Where that is the bridge has learned
// by a frame before, from there to the gateway: what comes from the gateway goes no further, or physical switches would lead answers here too early.
import { buildEthernet } from "packet-codec";
import { chassisTable, type LiveView, type ServiceHost, type StageOut } from "#app";
import { hostMac, networkTable, portTable } from "../l2/model.ts";
import { gatewayAddressTable, gatewayPlanTable, travelsInTunnels, type GatewayPlan } from "./model.ts";

/** IEEE 802 Local Experimental Ethertype 1: nobody has an answer to it. */
const ETHERTYPE = 0x88b5;
/** Seconds after the first that it is said again: a broadcast of the host that had it may come between, until all users have heard. */
const AGAIN_S = [0.05, 0.1, 0.15, 0.2] as const;

/** The first of a gateway's hosts that its users are told to use. */
export const used = (plan: GatewayPlan, users: (host: string) => boolean): string | undefined => plan.hosts.find(users);

/** Tells bridges of gateways that users are about to find elsewhere, of those that the chassis `of` has: bridges of hosts of which this controller is the master. */
export function teachBridges(host: ServiceHost, of: Iterable<string>, before: (chassis: string) => boolean, after: (chassis: string) => boolean): void {
  const plans = new Map([...of].flatMap((id) => host.view.by(gatewayPlanTable, "host", id).map((plan) => [plan.id, plan] as const)));
  const frames = [...plans.values()].flatMap((plan) => {
    const next = used(plan, after);
    return plan.kind !== "gateway" || next === undefined || !host.masters(next) || next === used(plan, before) || travelsInTunnels(host.view, plan.network_id) ? [] : framesOf(host.view, plan, next);
  });
  if (frames.length === 0) return;
  host.send(frames);
  for (const seconds of AGAIN_S) host.after(seconds, () => host.send(frames));
}

function framesOf(view: LiveView, plan: GatewayPlan, chassis: string): StageOut[] {
  const network = view.get(networkTable, plan.network_id);
  const port = view.get(portTable, plan.id);
  const key = view.get(chassisTable, chassis)?.key;
  if (network === undefined || port === undefined || key === undefined) return [];
  const own = hostMac(key);
  const further = view.by(gatewayAddressTable, "gateway", plan.id).filter((a) => a.at === undefined).map((a) => a.mac);
  const registers = { net: network.key, in_port_key: port.key };
  return [port.mac_address, ...further].flatMap((mac) =>
    [{ dst: mac, src: own }, { dst: own, src: mac }].map((ends) => ({ chassis, stage: "locate" as const, registers, data: buildEthernet({ ...ends, ethertype: ETHERTYPE }, Buffer.alloc(46)) })),
  );
}
