// A traced way beside what the switches say themselves: each part of it, from where the packet came in or back from conntrack, is given to ofproto/trace.
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import type { TracedHop } from "../../../src/ops/trace/tracer.ts";
import { oneWay } from "./ofproto-trace.ts";

/** A part, and the lookups that the switch makes; both as `table priority cookie`. */
export interface Part {
  readonly packet: string;
  readonly ours: readonly string[];
  readonly theirs: readonly string[];
  readonly text: string;
}

/** Lookups of br-int until the packet is recirculated; where others follow a patch they are further to the right. */
function lookupsOf(text: string): string[] {
  const found: string[] = [];
  let beyond = Infinity;
  for (const line of oneWay(text.split(/^=+\nrecirc\(/m)[0]!, Infinity).text.split("\n")) {
    const indent = /^ */.exec(line)![0].length;
    const bridge = /^ *bridge\("(.*)"\)$/.exec(line)?.[1];
    if (bridge !== undefined && bridge !== "br-int") beyond = Math.min(beyond, indent);
    else if (indent < beyond && line.trim() !== "") {
      beyond = Infinity;
      const lookup = /^ *(\d+)\. (?:No match\.|(?:.*[ ,])?priority (\d+)(?:, cookie (0x[0-9a-f]+))?$)/.exec(line);
      if (lookup !== null) found.push(`${lookup[1]} ${lookup[2] ?? -1} ${BigInt(lookup[3] ?? 0)}`);
    }
  }
  return found;
}

export async function partsOf(hops: readonly TracedHop[], hostOf: (id: string) => Hypervisor): Promise<Part[]> {
  const begins = hops.flatMap((hop, i) => (hop.packet === undefined ? [] : [i]));
  return Promise.all(begins.map(async (from, n): Promise<Part> => {
    const part = hops.slice(from, begins[n + 1]);
    const { switch: host, packet = "", table_id } = part[0]!;
    const text = await hostOf(host).appctl(...(table_id === 0 ? ["ofproto/trace", "br-int", packet] : ["ofproto/trace-packet-out", "br-int", packet, `resubmit(,${table_id})`]));
    return { packet, text, theirs: lookupsOf(text), ours: part.map((hop) => `${hop.table_id} ${hop.priority ?? -1} ${BigInt(hop.cookie)}`) };
  }));
}
