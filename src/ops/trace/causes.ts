// Why a packet went no further: what differs from what should be on a switch, a tunnel, or what the apps know of the flow that decided.
import type { PacketCause, PacketQuestion, PacketStart, PacketStop } from "#app";
import { formatMatch } from "node-openflow";
import { registerOfPacket } from "../../pipeline/naming.ts";
import { macText, unansweredOf } from "./apps.ts";
import type { Asking } from "./asking.ts";
import type { SwitchView, TracedFlow } from "./switch-view.ts";
import type { TracerParts } from "./parts.ts";
import type { Delivered, Ended, LosingTunnel, Walk } from "./walk.ts";

/**
 * The first place where the way over the installed flows is not the one over the desired ones, if that is why the packet did not arrive: these would
 * have brought it there, or the flow that ended it is nobody's.
 */
export function* differenceOn({ engine, layout }: Pick<TracerParts, "engine" | "layout">, walked: Walk, wantedArrives: boolean, open: (chassis: string) => Asking<SwitchView>): Asking<PacketCause | undefined> {
  for (const { switch: chassis, hop } of walked.hops) {
    const view = yield* open(chassis);
    if (!view.answers) continue;
    const wanted = view.wantedFlow(hop.table, hop.packet);
    if (hop.flow?.ref.state === "learned" || same(hop.flow, wanted)) continue;
    if (!wantedArrives) continue;
    const table = layout.tableById(hop.table)?.name ?? String(hop.table);
    const resources = wanted?.ref.flow === undefined ? [] : engine.provenance(wanted.ref.flow).resources.map(({ type, id }) => ({ type, id }));
    const cure = { text: `the next audit puts it right, within its interval; to see all that differs: axion flows --switch ${chassis} --state diff` };
    if (hop.flow !== undefined && (hop.flow.ref.state !== "desired" || wanted !== undefined)) {
      const foreign = hop.flow.ref.state === "desired" ? undefined : hop.flow;
      if (foreign !== undefined) {
        const how = foreign.ref.state === "changed" ? "has another flow than it should" : "has a flow that is nobody's";
        return { reason: "foreign_flow", text: `${chassis} ${how} in table ${table}: priority=${foreign.priority},${formatMatch(foreign.match)}`, resources, cure };
      }
    }
    if (wanted === undefined) continue;
    return { reason: "missing_flow", text: `${chassis} lacks a flow of table ${table} that it should have: priority=${wanted.priority},${formatMatch(wanted.match)}`, resources, cure };
  }
  return undefined;
}

const same = (a: TracedFlow | undefined, b: TracedFlow | undefined): boolean => a === b || (a?.ref.flow !== undefined && a.ref.state === "desired" && a.ref.flow === b?.ref.flow);

/** The port that it came to by its MAC in place of the one that it is for. `macOf`: a port's own MAC. */
export const otherwise = ({ delivered }: Pick<Walk, "delivered">, start: PacketStart | undefined, macOf: (port: string) => string | undefined): Delivered | undefined =>
  delivered.find((d) => d.iface !== undefined && d.iface !== start?.to && macOf(d.iface) === macText(d.packet.get("eth_dst")));

/** Another port has the address where the packet goes, since networks may have the same ones; or routes lead to another. `has`: whether it has the address itself. */
export function elsewhere(iface: string | undefined, start: PacketStart | undefined, has: (port: string, address: string) => boolean): PacketCause | undefined {
  if (iface === undefined || start?.to === undefined) return undefined;
  const resources = [{ type: "port", id: start.to }, { type: "port", id: iface }];
  if (!has(iface, start.address)) {
    const away = start.goal === "none";
    return {
      reason: "elsewhere", text: `routes lead ${start.address} to port ${iface}, which has it not, and port ${start.to}, which has it, ${away ? "is plugged nowhere" : "is another"}`, resources,
      cure: { text: away ? `if the machine of port ${iface} forwards to it, let that port send as ${start.address} (allowed_address_pairs); else plug port ${start.to}, or see the next hops of routes` : "see the next hops of routes, of routers and subnets, for that address" },
    };
  }
  return {
    reason: "elsewhere", text: `${start.address} is reached at port ${iface}, which has it where the sender is, and not at port ${start.to}`, resources,
    cure: { text: APART },
  };
}

/** For an address of the sender's own: its machine answers itself. */
export function toItself(from: string, { to, address }: Pick<PacketStart, "to" | "address">): PacketCause {
  if (to === undefined || to === from) {
    return { reason: "elsewhere", text: `${address} is port ${from} itself: its machine answers that itself, and sends nothing`, resources: [{ type: "port", id: from }], cure: { text: "ask for the packet of another port" } };
  }
  return {
    reason: "elsewhere", text: `${address} is port ${from} itself in its own network, and not port ${to}: its machine answers that itself, and sends nothing`, resources: [{ type: "port", id: to }, { type: "port", id: from }],
    cure: { text: APART },
  };
}
const APART = "ports of two networks reach each other where routers join these, and with addresses that one of the networks alone has";

/** It was led back to the port that it came from, which switches do not send it to. */
export function ledBack(iface: string, start: PacketStart | undefined, has: (port: string, address: string) => boolean): PacketCause {
  if (start?.to !== undefined && start.to !== iface) return elsewhere(iface, start, has)!;
  return {
    reason: "elsewhere", text: `${start?.address ?? "it"} is reached at port ${iface}, by which the packet came in: a switch sends none back by the port that it came from`, resources: [{ type: "port", id: iface }],
    cure: { text: `if another machine than that of port ${iface} is to have the address, see which ports may (fixed_ips, allowed_address_pairs)` },
  };
}

/** It would arrive if switches that are not connected had what they should have. */
export function notConnected(chassis: readonly string[]): PacketCause {
  return {
    reason: "not_connected", text: `would be delivered: ${chassis.join(", ")} ${chassis.length === 1 ? "is" : "are"} not connected, and what is there, and whether it runs, is not known`, resources: [],
    cure: { text: "axion problems says why, and what helps; with the state desired (--state desired) what switches should have is all that counts" },
  };
}

/** Where it ended, as apps are told. */
export function stopOf({ layout }: Pick<TracerParts, "layout">, end: Ended | undefined, question: PacketQuestion | undefined, start: PacketStart | undefined, rule: string | undefined): PacketStop {
  const table = end?.hop === undefined ? undefined : layout.tableById(end.hop.table);
  const fields = end?.packet.fields() ?? {};
  return {
    chassis: end?.switch ?? start?.chassis ?? "", table: table?.name ?? "", app: table?.app ?? "", rule, did: end?.did === "punted" ? "punted" : "dropped", ...(end?.turned !== undefined && { passed: true as const }), question, start,
    field: (name) => end?.packet.get(name) ?? 0n,
    register: ((name: string) => registerOfPacket(layout.register(name), fields)),
  };
}

function tunnelCure({ why, from, to, known }: LosingTunnel): string {
  switch (why) {
    case "narrow":
      return `give the network between ${from} and ${to} a larger MTU, or tell the controller how large it is (--mtu)`;
    case "stranger":
      return `see on the host that should have ${to} that external_ids:axion-encap-ip is that address, and that it is connected (axion switches)`;
    case "down":
      return known?.oneWay === true
        ? `see what lets packets pass from ${to} to ${from} and not from ${from} to ${to}: firewalls on the way, and routes`
        : `see the network between ${from} and ${to}, firewalls on the way, and on both that ovs-vswitchd runs (ovs-appctl -t ovs-vswitchd version answers) and the tunnel address is the one that the host had (axion tunnels --switch ${to})`;
  }
}

export interface Outcome {
  /** Of all that ended, what decides. */
  readonly end: Ended | undefined;
  /** A copy that left for a physical network. */
  readonly left: Delivered | undefined;
  readonly question: PacketQuestion | undefined;
  readonly start: PacketStart | undefined;
}

/** What is known of where it ended; reason `unexplained` when nobody knows more than the flow says. */
export function causeOf(parts: TracerParts, { end, left, question, start }: Outcome): PacketCause {
  const { apps, layout, engine, guard, view, ask } = parts;
  if (end?.tunnel !== undefined) return { reason: end.tunnel.why === "narrow" ? "mtu" : "tunnel_down", text: end.reason, resources: [], cure: { text: tunnelCure(end.tunnel) } };
  if (end?.port !== undefined) {
    const { name, tunnel } = end.port;
    return {
      reason: tunnel ? "tunnel_down" : "port_closed", text: `on ${end.switch} nothing leaves by ${name}: ${end.reason}`, resources: [],
      cure: { text: `on ${end.switch}: ovs-vsctl show, and ovs-ofctl -O OpenFlow13 show br-int, to see whether ${name} is there and who closed it; ovs-ofctl mod-port br-int ${name} forward opens it` },
    };
  }
  const table = end?.hop === undefined ? undefined : layout.tableById(end.hop.table);
  const flow = end?.hop?.flow?.ref.state === "desired" ? end.hop.flow.ref.flow : undefined;
  const why = flow === undefined ? undefined : engine.provenance(flow);
  const stop = stopOf(parts, end, question, start, why?.rule);
  const unanswered = unansweredOf(parts, stop);
  if (unanswered !== undefined) return unanswered;
  const first = apps.filter((app) => app.name === stop.app);
  for (const app of [...first, ...apps.filter((one) => one.name !== stop.app)]) {
    const { cause } = app.explains ?? {};
    const found = cause === undefined ? undefined : guard<PacketCause | undefined>({ app: app.name, hook: "explains" }, { table: stop.table }, () => cause(view, stop, ask), undefined);
    if (found !== undefined) return found;
  }
  if (end === undefined && left !== undefined) {
    return {
      reason: "physical_network", text: `it leaves ${left.switch} by ${left.port} for the physical network, and no host is known to take it up there`, resources: [],
      cure: { text: `see which machine on the physical network has the MAC that it is sent to, and the bridge that ${left.port} leads to` },
    };
  }
  const where = table === undefined ? stop.chassis : `table ${table.name} of ${stop.chassis} (${table.about})`;
  return {
    reason: "unexplained", text: end === undefined ? "nothing of the packet left" : `${where}: ${end.reason}`, resources: (why?.resources ?? []).map(({ type, id }) => ({ type, id })),
    cure: { text: "the last hop shows the flow that decided, and what it is there for" },
  };
}
