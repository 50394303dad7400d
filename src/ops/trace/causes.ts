// Why a packet went no further: what differs from what should be on a switch, a tunnel, or what the apps know of the flow that decided.
import type { PacketCause, PacketQuestion, PacketStart, PacketStop } from "#app";
import { formatMatch } from "node-openflow";
import { registerOfPacket } from "../../pipeline/naming.ts";
import type { SwitchView, TracedFlow } from "./switch-view.ts";
import type { TracerParts } from "./parts.ts";
import type { Ended, Walk } from "./walk.ts";

/**
 * The first place where the way over the installed flows is not the one over the desired ones, if that is why the packet did not arrive: these would
 * have brought it there, or the flow that ended it is nobody's.
 */
export async function differenceOn({ engine, layout }: Pick<TracerParts, "engine" | "layout">, walked: Walk, wantedArrives: boolean, open: (chassis: string) => Promise<SwitchView>): Promise<PacketCause | undefined> {
  for (const { switch: chassis, hop } of walked.hops) {
    const view = await open(chassis);
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

/** What is known of where it ended; reason `unexplained` when nobody knows more than the flow says. */
export function causeOf(parts: TracerParts, end: Ended | undefined, question: PacketQuestion | undefined, start: PacketStart | undefined): PacketCause {
  const { apps, layout, engine, guard, view } = parts;
  if (end?.did === "lost") {
    const mtu = end.reason.startsWith("packets of more");
    return {
      reason: mtu ? "mtu" : "tunnel_down", text: end.reason, resources: [],
      cure: { text: mtu ? "give the hosts' network between them a larger MTU, or tell the controller how large it is (--mtu)" : `see the network between the hosts, and on ${end.tunnel!.to} that ovs-vswitchd runs and its address is the one it had` },
    };
  }
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
  const fields = end?.packet.fields() ?? {};
  const stop: PacketStop = {
    chassis: end?.switch ?? start?.chassis ?? "", table: table?.name ?? "", app: table?.app ?? "", rule: why?.rule, did: end?.did === "punted" ? "punted" : "dropped", question, start,
    field: (name) => end?.packet.get(name) ?? 0n,
    register: ((name: string) => registerOfPacket(layout.register(name), fields)),
  };
  const first = apps.filter((app) => app.name === stop.app);
  for (const app of [...first, ...apps.filter((one) => one.name !== stop.app)]) {
    const { cause } = app.explains ?? {};
    const found = cause === undefined ? undefined : guard<PacketCause | undefined>({ app: app.name, hook: "explains" }, { table: stop.table }, () => cause(view, stop), undefined);
    if (found !== undefined) return found;
  }
  const where = table === undefined ? stop.chassis : `table ${table.name} of ${stop.chassis} (${table.about})`;
  return {
    reason: "unexplained", text: end === undefined ? "nothing of the packet left" : `${where}: ${end.reason}`, resources: (why?.resources ?? []).map(({ type, id }) => ({ type, id })),
    cure: { text: "the last hop shows the flow that decided, and what it is there for" },
  };
}
