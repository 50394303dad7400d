// The apps' effects of flows, by table id, on flows as bytes: what the southbound layer calls.
import type { App, ConntrackFlush, ReadView, SeenFlow } from "../app/contract.ts";
import { decodeMatch, encodeMessage, type CtFlushProperty, type Message } from "node-openflow";
import type { HookGuard } from "../lib/hook-guard.ts";
import type { Layout } from "../pipeline/layout.ts";
import { namedMatch } from "../pipeline/naming.ts";
import { lowerPacket } from "../pipeline/packet-out.ts";
import { Relayouts } from "./relayout.ts";
import type { FlowBytes, FlowEffects } from "../southbound/openflow/withdrawal.ts";

export function flowEffects(apps: readonly App[], layout: Layout, view: ReadView, guard: HookGuard, earlier: readonly string[] = []): FlowEffects {
  const relayouts = new Relayouts(apps, layout, earlier);
  const byTable = new Map(apps.flatMap((app) => Object.entries(app.effects ?? {}).map(([table, effects]) => [layout.table(table).id, { app: app.name, effects }] as const)));
  const seen = (chassis: string, { table, priority, buf, matchOff }: FlowBytes): SeenFlow => ({ chassis, priority, match: namedMatch(layout, layout.tableById(table)!, decodeMatch(buf, matchOff)) });
  return {
    relayout: (parts, desired) => relayouts.of(parts, desired),
    withdrawn: new Set([...byTable].filter(([, { effects }]) => effects.withdrawn !== undefined).map(([id]) => id)),
    confirmed: new Set([...byTable].filter(([, { effects }]) => effects.confirmed !== undefined).map(([id]) => id)),
    flushes(chassis, flow) {
      const { app, effects } = byTable.get(flow.table)!;
      return guard({ app, hook: "withdrawn" }, { chassis }, () => (effects.withdrawn?.(seen(chassis, flow), view) ?? []).map(flushMessage).map(sendable), []);
    },
    packets(chassis, flow) {
      const { app, effects } = byTable.get(flow.table)!;
      return guard({ app, hook: "confirmed" }, { chassis }, () => (effects.confirmed?.(seen(chassis, flow), view) ?? []).map((out) => lowerPacket(layout, app, out)), []);
    },
  };
}

/** @throws OpenFlowError when it has no wire form: here it costs the app, later it would cost the switch its session */
function sendable(message: Message): Message {
  encodeMessage(message, 0);
  return message;
}

/** NXT_CT_FLUSH, Open vSwitch 3.1: connections of a zone by the tuple of either direction. */
function flushMessage({ zone, protocol, reply, ...orig }: ConntrackFlush): Message {
  const tuple = (t: { readonly src?: string; readonly dst?: string; readonly srcPort?: number; readonly dstPort?: number }) => [
    ...(t.src === undefined ? [] : [{ type: "src" as const, addr: mapped(t.src) }]),
    ...(t.dst === undefined ? [] : [{ type: "dst" as const, addr: mapped(t.dst) }]),
    ...(t.srcPort === undefined ? [] : [{ type: "src_port" as const, port: t.srcPort }]),
    ...(t.dstPort === undefined ? [] : [{ type: "dst_port" as const, port: t.dstPort }]),
  ];
  const properties: CtFlushProperty[] = [];
  if (tuple(orig).length > 0) properties.push({ type: "orig_tuple", tuple: tuple(orig) });
  if (reply !== undefined) properties.push({ type: "reply_tuple", tuple: tuple(reply) });
  properties.push({ type: "zone", zone_id: zone });
  return { type: "ct_flush", ip_proto: protocol ?? 0, properties };
}

/** IPv4 addresses as ::ffff:a.b.c.d. */
const mapped = (address: string): string => (address.includes(":") ? address : `::ffff:${address}`);
