// The interpreter beside a real ovs-vswitchd that has the same flows: the same packet has to go through the same flows and leave in the same form.
// The switch has a dummy datapath: nothing is sent, ofproto/trace says what would be.
import { connect } from "node:net";
import { encodeFlowMod, encodeMessage, formatMatch, MAX_MESSAGE, OpenFlowConnection, ports, type Match } from "node-openflow";
import { Ovs } from "../../../src/southbound/testing/ovs.ts";
import { ctNext, everyTrace, hopsOf, Packet, packetOfFrame, puntReasons, type Pass, type Trace, type TraceFlow, type TracePort, type TraceSwitch } from "../../../src/trace/index.ts";
import { at, ranges } from "../../../src/trace/packet/places.ts";
import { execute, packetOfSwitch, type Executed } from "../datapath.ts";
import { checksIn, parseTrace, Unixctl, type TracedPass } from "./ofproto-trace.ts";

/** A packet by its fields, or as a frame with what it came with. */
export type Given = { readonly fields: Match; readonly ct?: readonly number[] } | { readonly frame: Buffer; readonly metadata: Match; readonly ct?: readonly number[]; /** other_config:vlan-limit of the switch. */ readonly vlanLimit?: number };

export const packetOf = (given: Given): Packet => ("fields" in given ? Packet.of(given.fields) : packetOfFrame(given.frame, { metadata: given.metadata, ...(given.vlanLimit !== undefined && { vlanLimit: given.vlanLimit }) }));

/** As ofproto/trace takes it. */
export function textOf(given: Given): string[] {
  const next = (given.ct ?? []).flatMap((state) => ["--ct-next", stateText(state)]);
  return "fields" in given ? [wordsOf(given.fields), ...next] : [wordsOf(given.metadata), given.frame.toString("hex"), ...next];
}

const SPELT: Readonly<Record<string, string>> = {
  ipv4_src: "ip_src", ipv4_dst: "ip_dst", ip_ttl: "nw_ttl", ip_ecn: "nw_ecn", icmpv4_type: "icmp_type", icmpv4_code: "icmp_code", ipv6_nd_target: "nd_target", ipv6_nd_sll: "nd_sll", ipv6_nd_tll: "nd_tll",
  tunnel_id: "tun_id", tun_ipv4_src: "tun_src", tun_ipv4_dst: "tun_dst", ipv6_flabel: "ipv6_label",
};
const FRAGMENTS: Readonly<Record<number, string>> = { 0: "no", 1: "first", 3: "later" };
/** Fields that others need come before them. */
const RANK = ["in_port", "eth_type", "vlan_vid", "ip_proto", "icmpv6_type", "icmpv6_code"];

/** Fields as ofproto/trace takes them, which knows a few by other names. */
export function wordsOf(match: Match): string {
  const rank = (name: string): number => (RANK.includes(name) ? RANK.indexOf(name) : RANK.length);
  return Object.entries(match).sort(([a], [b]) => rank(a) - rank(b)).map(([name, value]) => {
    const text = name === "ip_frag" ? FRAGMENTS[value as number]! : name === "ct_state" ? stateText(value as number).replaceAll(",", "|") : typeof value === "object" ? "" : String(value);
    return `${SPELT[name] ?? name}=${text}`;
  }).join(",");
}

const STATES = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];
const stateText = (state: number): string => STATES.filter((_, i) => (state >> i) & 1).join(",");

/** Counts of what packets met. */
export interface Seen {
  hops: number;
  outputs: number;
  recirculated: number;
}

export class Bed {
  private readonly ovs: Ovs;
  private readonly control: Unixctl;
  private readonly connection: OpenFlowConnection;
  private flows: readonly TraceFlow[] = [];
  /** OpenFlow port to port of the datapath. */
  private ports: ReadonlyMap<number, number> = new Map();
  private tunnels: ReadonlySet<number> = new Set();

  private constructor(ovs: Ovs, control: Unixctl, connection: OpenFlowConnection) {
    this.ovs = ovs;
    this.control = control;
    this.connection = connection;
  }

  /** `vlanLimit`: tags of a frame that the switch looks for. */
  static async start({ vlanLimit = 1 }: { readonly vlanLimit?: 1 | 2 } = {}): Promise<Bed> {
    const ovs = await Ovs.start({}, { tunnels: true, ...(vlanLimit === 2 && { config: { "vlan-limit": "2" } }) });
    try {
      await ovs.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy", "protocols=OpenFlow13");
      // Tunnels as a kernel has them: the datapath's own would need routes.
      await ovs.appctl("dpif/set-dp-features", "br0", "tnl_push_pop", "false");
      const connection = new OpenFlowConnection(connect(`${ovs.dir}/br0.mgmt`));
      await connection.handshake();
      return new Bed(ovs, await Unixctl.connect(`${ovs.dir}/vsw.ctl`), connection);
    } catch (error) {
      await ovs.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    this.control.close();
    this.connection.close();
    await this.ovs.stop();
  }

  /** Makes the bridge have these ports. `type` of a tunnel: geneve, vxlan, gre. */
  async setPorts(ports: readonly (TracePort & { readonly type?: string })[]): Promise<void> {
    const had = (await this.ovs.vsctl("list-ports", "br0")).split("\n").filter((name) => name !== "");
    const commands = had.flatMap((name) => ["--", "del-port", "br0", name]);
    for (const { number, tunnel, type = "dummy" } of ports) {
      const options = tunnel === undefined ? [] : [`options:remote_ip=${tunnel.remote}`, `options:key=${tunnel.key}`, ...(tunnel.local === undefined ? [] : [`options:local_ip=${tunnel.local}`])];
      commands.push("--", "add-port", "br0", `p${number}`, "--", "set", "interface", `p${number}`, `type=${type}`, `ofport_request=${number}`, ...options);
    }
    if (commands.length > 0) await this.ovs.vsctl("--no-wait", ...commands.slice(1));
    await this.ovs.vsctl("set", "Open_vSwitch", ".", `external_ids:ports=${ports.length}`); // waits until the switch has them
    this.tunnels = new Set(ports.filter((p) => p.tunnel !== undefined).map((p) => p.number));
    const shown = await this.ovs.appctl("dpif/show");
    this.ports = new Map([...shown.matchAll(/^ +\S+ (\d+)\/(\d+):/gm)].map((m) => [m[1] === "65534" ? LOCAL : Number(m[1]), Number(m[2])]));
    for (const { number } of ports) if (!this.ports.has(number)) throw new Error(`the switch has no port ${number}: ${shown}`);
  }

  /** Makes the bridge have the flows and groups of `sw`, and whatever meters they name, and show of fragments what it does. */
  async load(sw: TraceSwitch): Promise<void> {
    this.flows = [...sw.flows()];
    this.connection.send({ type: "set_config", flags: FRAG_FLAGS[sw.fragments], miss_send_len: 128 });
    await this.connection.bundle([encodeMessage({ type: "flow_mod", command: "delete", table_id: 255, match: {}, instructions: [] }, 0), encodeMessage({ type: "group_mod", command: "delete", group_type: "all", group_id: 0xfffffffc, buckets: [] }, 0)]);
    for (const meter of new Set(this.flows.flatMap((f) => f.ops.flatMap((op) => ((op.type === "meter" || op.type === "controller") && op.meter_id !== undefined ? [op.meter_id] : []))))) {
      this.connection.send({ type: "meter_mod", command: "add", flags: 1, meter_id: meter, bands: [{ type: "drop", rate: 1000, burst_size: 0 }] });
    }
    await this.connection.barrier();
    const messages = [...sw.groups.values()].map((g) => encodeMessage({ type: "group_mod", command: "add", group_type: g.type, group_id: g.id, buckets: g.buckets.map((b) => ({ weight: g.type === "select" ? 1 : 0, ...b })) }, 0));
    const buf = Buffer.alloc(MAX_MESSAGE + 8);
    this.flows.forEach(({ table, priority, match, instructions }, i) => {
      const end = encodeFlowMod(buf, 0, { command: "add", table_id: table, priority, cookie: BigInt(i + 1), match, instructions });
      messages.push(Buffer.from(buf.subarray(0, end)));
    });
    await this.connection.bundle(messages);
  }

  trace(given: Given): Promise<string> {
    return this.control.call("ofproto/trace", "br0", ...textOf(given));
  }

  /** What differs between the switch's trace and all that the interpreter says may happen; undefined when one of them is it. */
  async disagreement(sw: TraceSwitch, given: Given, seen?: Seen): Promise<string | undefined> {
    const text = await this.trace(given);
    const checks = checksIn(text);
    const branches = "frame" in given && checks > 0 ? Array.from({ length: checks + 1 }, (_, longerAt) => parseTrace(text, longerAt)) : [parseTrace(text)];
    const { traces } = everyTrace(sw, packetOf(given), { conntrack: () => ctNext(given.ct ?? []) });
    let first = "";
    for (const trace of traces) for (const passes of branches) {
      const found = this.compare(trace, passes);
      if (found === undefined) {
        if (seen !== undefined) {
          seen.hops += trace.passes.reduce((sum, pass) => sum + [...hopsOf(pass.steps)].length, 0);
          seen.outputs += trace.outputs.length;
          seen.recirculated += trace.passes.length - 1;
        }
        return undefined;
      }
      first ||= `${found}\n--- the interpreter:\n${format(trace, this.flows)}`;
    }
    return `${textOf(given).join(" ")}\n${first}\n--- the switch:\n${text}`;
  }

  private compare(trace: Trace<unknown>, passes: readonly TracedPass[]): string | undefined {
    for (const [i, theirs] of passes.entries()) {
      const pass = trace.passes[i];
      if (pass === undefined) return `pass ${i}: only the switch has it`;
      const ours = [...hopsOf(pass.steps)].map((h) => `${h.table} ${h.flow === undefined ? 0 : this.flows.indexOf(h.flow) + 1}`);
      const wanted = theirs.lookups.map((l) => `${l.table} ${l.cookie}`);
      if (ours.join() !== wanted.join()) return `pass ${i}: tables and flows ${ours.join(", ")} here, ${wanted.join(", ")} there`;
      if ((theirs.error === undefined) !== (pass.error === undefined)) return `pass ${i}: ${pass.error?.text ?? "no error"} here, ${theirs.error ?? "no error"} there`;
      const begun = differs(pass.packet, theirs.flow);
      if (begun !== undefined) return `pass ${i} begins with ${begun}`;
      if (theirs.error !== undefined) continue;
      const ended = theirs.final === undefined ? undefined : differs(pass.final, theirs.final === "unchanged" ? theirs.flow : theirs.final, this.floods ? words(ranges.tunnel) : []);
      if (ended !== undefined) return `pass ${i} ends with ${ended}`;
      const done = execute(theirs.actions, pass.packet);
      const sent = this.sent(trace, i, done);
      if (sent !== undefined) return `pass ${i}: ${sent}`;
    }
    return trace.passes.length > passes.length ? `pass ${passes.length}: only the interpreter has it` : undefined;
  }

  /** To all ports a switch sends in an order of its own, which shows in what tunnel ports leave behind. */
  private get floods(): boolean {
    return this.flows.some((f) => f.ops.some((op) => op.type === "output" && FLOODS.has(op.port)));
  }

  private sent(trace: Trace<unknown>, pass: number, done: Executed): string | undefined {
    const ours = trace.outputs.filter((o) => o.pass === pass);
    const place = (o: { readonly port: number }): number => this.ports.get(o.port) ?? -1;
    const theirs = [...done.outputs];
    if (this.floods) {
      ours.sort((a, b) => place(a) - place(b));
      theirs.sort((a, b) => a.port - b.port);
    }
    const [here, there] = [ours.map(place).join(), theirs.map((o) => o.port).join()];
    if (here !== there) return `sent to ${here} here, ${there} there (ports of the datapath)`;
    for (const [i, { packet }] of theirs.entries()) {
      const mine = ours[i]!.packet;
      // A port that is no tunnel lets a tunnel's fields be.
      const outer = this.tunnels.has(ours[i]!.port) ? [at.tun_id, at.tun_id + 1, at.tun_src, at.tun_dst, ...words([at.tun_ipv6_src, at.tun_gbp_id])] : [];
      const what = [...words(ranges.header), ...outer, at.pkt_mark].filter((w) => mine.words[w] !== packet.words[w]);
      if (what.length > 0) return `output ${i}: ${what.map((w) => `${nameOf(w)}=${hex(mine.words[w]!)} here, ${hex(packet.words[w]!)} there`).join("; ")}`;
    }
    const punts = trace.punts.filter((p) => p.pass === pass && p.paused !== true).map((p) => `${puntReasons.indexOf(p.reason)}/${p.controllerId}/${p.maxLen}`);
    if (punts.join() !== done.punts.join()) return `punts ${punts.join()} here, ${done.punts.join()} there`;
    return undefined;
  }
}

/** OFPC_FRAG_*, OpenFlow 1.3.5 section 7.3.2; OFPC_FRAG_NX_MATCH is Open vSwitch's. */
const FRAG_FLAGS = { normal: 0, drop: 1, "nx-match": 3 } as const;
const LOCAL = 0xffff_fffe;
const FLOODS: ReadonlySet<number> = new Set([ports.ALL, ports.FLOOD]);

/** How a packet differs from what the switch shows of its own. */
export function differs(packet: Packet, text: string, aside: readonly number[] = []): string | undefined {
  const theirs = packetOfSwitch(text);
  const hidden = new Set<number>([at.recirc_id, at.conj_id, at.actset_output, at.dp_hash, at.skb_priority, at.vlan_tpid, at.vlan_tpid_inner, at.vlan_tci_inner, at.mpls + 1, at.mpls + 2, at.tun_flags, ...theirs.hidden, ...aside]);
  const found = [...packet.words.keys()].filter((w) => !hidden.has(w) && packet.words[w] !== theirs.packet.words[w]);
  return found.length === 0 ? undefined : found.map((w) => `${nameOf(w)}=${hex(packet.words[w]!)} here, ${hex(theirs.packet.words[w]!)} there`).join("; ");
}

const words = ([from, to]: readonly [number, number]): number[] => Array.from({ length: to - from }, (_, i) => from + i);
const hex = (n: number): string => `0x${n.toString(16)}`;
function nameOf(word: number): string {
  const [name, first] = Object.entries(at).reduce<[string, number]>((best, entry) => (entry[1] <= word && entry[1] > best[1] ? entry : best), ["", -1]);
  return word === first ? name : `${name}[${word - first}]`;
}

/** A trace as text, for messages of tests. */
export function format(trace: Trace<unknown>, flows: readonly TraceFlow[]): string {
  const lines: string[] = [];
  const steps = (list: Pass<unknown>["steps"], depth: number): void => {
    for (const step of list) {
      const indent = "  ".repeat(depth);
      if (step.kind === "table") lines.push(`${indent}${step.table}. ${step.flow === undefined ? "no match" : `${formatMatch(step.flow.match)} priority ${step.flow.priority} cookie ${hex(flows.indexOf(step.flow) + 1)}`}`);
      else if (step.kind === "action") lines.push(`${indent}${step.action.type}${step.notes.map((n) => ` (${n})`).join("")}`);
      else lines.push(`${indent}${step.kind}`);
      steps(step.steps, depth + 1);
    }
  };
  for (const pass of trace.passes) {
    lines.push(`pass ${pass.number}: ${formatMatch(pass.packet.fields())}`);
    steps(pass.steps, 1);
  }
  for (const o of trace.outputs) lines.push(`output to ${o.port}: ${formatMatch(o.packet.fields())}`);
  for (const p of trace.punts) lines.push(`punt ${p.reason}`);
  for (const d of trace.drops) lines.push(`dropped in table ${d.table}: ${d.reason}`);
  return lines.join("\n");
}
