// What has to hold of a simulated cluster. At each flow-mod: a switch takes it of one master in a term, and of none of an earlier term. At instants: no
// packet of a network comes out at a port of another. At the end: what the store has, made into flows from scratch, is what switches have; all
// controllers tell the same, which is what clients were told.
import { encodeFlowMod, FLOW_MOD_MATCH_OFFSET, flowKey } from "node-openflow";
import { chassisTable, poolNumberTable, type App } from "#app";
import { allTables } from "../../src/boot/registry.ts";
import { Engine } from "../../src/compiler/engine.ts";
import { Model } from "../../src/model/model.ts";
import { Layout } from "../../src/pipeline/layout.ts";
import { sameInstructions } from "../../src/southbound/openflow/session.ts";
import { openStore } from "../../src/store/open.ts";
import { packetOfText, trace, TraceFlow, TraceSwitch } from "../../src/trace/index.ts";
import { silent } from "../support/harness.ts";
import { carrierOf } from "./carrier.ts";
import type { Known, SimClient } from "./client.ts";
import type { SimController } from "./controller.ts";
import type { SimEtcd } from "./etcd.ts";
import type { SimHost } from "./host.ts";
import type { Network } from "./network.ts";
import { running, type World } from "./world.ts";

/** What a client knows of the things that it made, by name. */
export type Memory = ReadonlyMap<string, Known>;

/** Listens to what a switch carries out, for whom. */
export function watchMasters(world: World, host: SimHost): void {
  let latest = { sw: host.sw, term: -1n, by: "" };
  host.onFlowMod = (by, role) => {
    const term = host.sw.generationId ?? -1n;
    if (host.sw !== latest.sw) latest = { sw: host.sw, term: -1n, by: "" };
    if (role !== "primary") world.fail(`${host.name} took a flow-mod of ${by}, which is ${role}, not its master`);
    if (term < latest.term) world.fail(`${host.name} took a flow-mod of ${by} in term ${term}, after one of term ${latest.term}`);
    if (term === latest.term && by !== latest.by) world.fail(`${host.name} took flow-mods of ${latest.by} and ${by} in one term, ${term}`);
    latest = { sw: host.sw, term, by };
  };
}

/** Of the API, as far as it is looked into. */
interface Shown {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly mac_address: string;
  readonly network_id: string;
  readonly fixed_ips: readonly { readonly ip_address: string }[];
  readonly "provider:network_type"?: string;
  readonly "provider:segmentation_id"?: number | null;
}

interface Plugged {
  readonly host: SimHost;
  readonly ofport: number;
  readonly network: string;
  readonly mac: string;
  readonly ip: string;
}

/** Sends packets of each port, to all and to each other's address, through the tables as they are now. */
export function checkIsolation(world: World, hosts: readonly SimHost[], memory: Memory): void {
  const byId = new Map([...memory.values()].flatMap((one) => (one.id === undefined || one.details.network_id === undefined ? [] : [[one.id, one.details]])));
  const plugged: Plugged[] = [];
  for (const host of hosts) {
    for (const [id, ofport] of host.plugged) {
      const details = byId.get(id);
      const [address] = (details?.fixed_ips ?? []) as { ip_address: string }[];
      if (details !== undefined && address !== undefined) plugged.push({ host, ofport, network: details.network_id as string, mac: details.mac_address as string, ip: address.ip_address });
    }
  }
  if (plugged.length < 2) return;
  const tables = new Map(hosts.map((host) => [host, tablesOf(host)]));
  for (const from of plugged) {
    const frames = [`arp,in_port=${from.ofport},dl_src=${from.mac},dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,arp_spa=${from.ip},arp_tpa=10.0.0.77,arp_sha=${from.mac}`];
    for (const to of plugged) if (to.network !== from.network) frames.push(`udp,in_port=${from.ofport},dl_src=${from.mac},dl_dst=${to.mac},nw_src=${from.ip},nw_dst=${to.ip},nw_ttl=64,tp_src=5000,tp_dst=6000`);
    for (const frame of frames) {
      for (const output of trace(tables.get(from.host)!, packetOfText(frame)).outputs) {
        const breach = (at: SimHost, port: number): void => {
          const to = plugged.find((one) => one.host === at && one.ofport === port);
          if (to !== undefined && to.network !== from.network) world.fail(`a packet of network ${from.network} at ${from.host.name} comes out at port ${port} of ${at.name}, which is of network ${to.network}: ${frame}`);
        };
        breach(from.host, output.port);
        const there = hosts.find((host) => host !== from.host && host.addressNumber === output.packet.get("tun_ipv4_dst"));
        const tunnel = there?.ofportOf("axion-geneve");
        if (there === undefined || tunnel === undefined || output.port !== from.host.ofportOf("axion-geneve")) continue;
        const arrived = output.packet.clone();
        arrived.set("in_port", BigInt(tunnel));
        arrived.set("tun_ipv4_src", from.host.addressNumber);
        for (const last of trace(tables.get(there)!, arrived).outputs) breach(there, last.port);
      }
    }
  }
}

function tablesOf(host: SimHost): TraceSwitch {
  const made = new TraceSwitch();
  for (const flow of host.sw.flows()) made.add(new TraceFlow({ table: flow.table_id, priority: flow.priority, match: flow.match, instructions: flow.instructions, cookie: flow.cookie, ref: undefined }));
  for (const group of host.sw.groups()) made.setGroup({ id: group.group_id, type: group.group_type as "all", buckets: group.buckets });
  return made;
}

export interface Ending {
  readonly world: World;
  readonly network: Network;
  readonly etcd: SimEtcd;
  readonly controllers: readonly SimController[];
  readonly hosts: readonly SimHost[];
  readonly client: SimClient;
  readonly memory: Memory;
  readonly apps: readonly App[];
}

/** What is not as it should be now, at the end. */
export async function verdict(ending: Ending): Promise<string[]> {
  const { controllers } = ending;
  const down = controllers.filter((c) => !c.ready).map((c) => `${c.name} is not up`);
  if (down.length > 0) return down;
  return [...(await told(ending)), ...(await desired(ending))];
}

/** Against what clients know. */
async function told({ controllers, client, memory }: Ending): Promise<string[]> {
  const out: string[] = [];
  const answers: string[] = [];
  let ports: readonly Shown[] = [];
  let networks: readonly Shown[] = [];
  for (const { name, api } of controllers) {
    const [a, b] = [await client.ask(api, "GET", "/v2.0/networks"), await client.ask(api, "GET", "/v2.0/ports")];
    if (a?.status !== 200 || b?.status !== 200) return [`${name} does not answer: ${a?.status} ${b?.status}`];
    [networks, ports] = [a.body!.networks as readonly Shown[], b.body!.ports as readonly Shown[]];
    answers.push(JSON.stringify([networks, ports].map((list) => [...list].sort((x, y) => (x.id < y.id ? -1 : 1)))));
  }
  if (new Set(answers).size > 1) out.push("controllers tell different things of networks and ports");
  const all = [...networks, ...ports];
  for (const [name, known] of memory) {
    const found = all.filter((one) => one.name === name);
    if (found.length > 1) out.push(`${name} is there ${found.length} times: made once`);
    if (known.there === true && found.length === 0) out.push(`${name} is lost: its creation was acknowledged`);
    if (known.there === false && found.length > 0) out.push(`${name} is there: ${known.asked ? "its deletion was acknowledged, or its creation refused" : "nobody asked for it"}`);
    const is = found[0]?.description;
    if (is !== undefined && known.id !== undefined && is !== known.description && !known.maybe.has(is)) out.push(`${name} is described as "${is}": "${known.description}" was acknowledged`);
  }
  const unique = (what: string, values: readonly string[]): void => {
    for (const value of new Set(values.filter((one, i) => values.indexOf(one) !== i))) out.push(`${what} ${value} was given out twice`);
  };
  unique("the MAC address", ports.map((p) => p.mac_address));
  unique("the address", ports.flatMap((p) => p.fixed_ips.map((ip) => `${ip.ip_address} in ${p.network_id}`)));
  unique("the segment", networks.filter((n) => n["provider:segmentation_id"] != null).map((n) => `${n["provider:network_type"]!} ${n["provider:segmentation_id"]!}`));
  return out;
}

/** Against a compile from scratch of what is stored. */
async function desired({ world, network, etcd, hosts, apps }: Ending): Promise<string[]> {
  const machine = world.machine("checker");
  network.place(machine, "10.0.4.1");
  return running.run({ world, machine }, async () => {
    const out: string[] = [];
    const store = await openStore(`etcd://${etcd.endpoints}`, { dataDir: "", etcd: { carrier: (address) => carrierOf(network, machine, address) }, make: false });
    const tables = allTables(apps);
    const model = await Model.open(store, tables);
    const layout = new Layout(apps);
    const engine = new Engine({ apps, tables, layout, rows: model.layer, log: silent });
    engine.compileAll(model.generation);
    const keys = Array.from(model.view.all(chassisTable), ({ key }) => key);
    if (new Set(keys).size < keys.length) out.push(`hosts' keys ${keys.join()} are not one each`);
    const numbers = Array.from(model.view.all(poolNumberTable), ({ part, n }) => `${part} ${n}`);
    if (new Set(numbers).size < numbers.length) out.push("a number of a pool was given out twice");
    for (const host of hosts) {
      if (model.view.get(chassisTable, host.name) === undefined) {
        out.push(`${host.name} is not known`);
        continue;
      }
      const want = new Map([...engine.flowsOf(host.name)].map((flow) => [flow.key, flow.slab.subarray(flow.off, flow.off + flow.len)]));
      const wrong: string[] = [];
      for (const flow of host.sw.flows()) {
        const { key, bytes } = encoded(flow);
        const wanted = want.get(key);
        want.delete(key);
        if (wanted === undefined && !(layout.learnedTables.has(flow.table_id) && flow.idle_timeout + flow.hard_timeout > 0)) wrong.push(`too much in table ${flow.table_id}`);
        else if (wanted !== undefined && !same(bytes, wanted)) wrong.push(`another one in table ${flow.table_id}`);
      }
      for (const bytes of want.values()) wrong.push(`missing in table ${bytes[24]!}`);
      if (wrong.length > 0) out.push(`${host.name} has not the flows that it should have: ${wrong.length} differ, ${[...new Set(wrong)].slice(0, 5).join(", ")}`);
      const ids = (items: Iterable<{ readonly kind: string; readonly id: number }>): string => [...items].map(({ kind, id }) => `${kind} ${id}`).sort().join();
      const has = ids([...host.sw.groups().map(({ group_id: id }) => ({ kind: "group", id })), ...host.sw.meters().map(({ meter_id: id }) => ({ kind: "meter", id }))]);
      if (has !== ids(engine.itemsOf(host.name))) out.push(`${host.name} has other groups and meters than it should have`);
    }
    await model.close();
    return out;
  });
}

const scratch = Buffer.alloc(65_536);
function encoded(flow: ReturnType<SimHost["sw"]["flows"]>[number]): { readonly key: string; readonly bytes: Buffer } {
  const { table_id, priority, cookie, match, instructions, idle_timeout, hard_timeout } = flow;
  const bytes = Buffer.from(scratch.subarray(0, encodeFlowMod(scratch, 0, { command: "add", table_id, priority, cookie, match, instructions, idle_timeout, hard_timeout })));
  return { key: flowKey(table_id, priority, bytes, FLOW_MOD_MATCH_OFFSET, (bytes.readUInt16BE(FLOW_MOD_MATCH_OFFSET + 2) + 7) & ~7), bytes };
}

function same(a: Buffer, b: Buffer): boolean {
  if (a.readBigUInt64BE(8) !== b.readBigUInt64BE(8)) return false;
  const at = (bytes: Buffer): Buffer => bytes.subarray(FLOW_MOD_MATCH_OFFSET + ((bytes.readUInt16BE(FLOW_MOD_MATCH_OFFSET + 2) + 7) & ~7));
  return at(a).equals(at(b)) || sameInstructions(at(a), at(b));
}
