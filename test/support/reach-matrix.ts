// Who reaches whom: every pair of ports, each traffic, followed over what is desired now. What plans say of it is judged by that.
import { askOf, EXTERNAL, EXTERNAL_ADDRESS } from "#app";
import { portTable } from "../../apps/l2/model.ts";
import { allTables } from "../../src/boot/registry.ts";
import { hookGuard } from "../../src/lib/hook-guard.ts";
import { Reacher } from "../../src/ops/trace/reach.ts";
import type { Reach } from "../../src/plan/reachability.ts";
import { silent, type Harness } from "./harness.ts";

const ASKED = [
  { protocol: "icmp", number: 1, port: undefined },
  { protocol: "tcp", number: 6, port: 22 }, { protocol: "tcp", number: 6, port: 80 }, { protocol: "tcp", number: 6, port: 83 }, { protocol: "tcp", number: 6, port: 443 },
  { protocol: "udp", number: 17, port: 53 }, { protocol: "udp", number: 17, port: 80 },
] as const;

/** `<from> <to> <IPv4 or IPv6> <protocol> <port>`, of those that reach each other. */
export async function matrix(h: Harness): Promise<ReadonlySet<string>> {
  const reacher = new Reacher({ apps: h.apps, tables: allTables(h.apps), layout: h.layout, ask: askOf(h.apps), clock: h.clock, engine: h.engine, view: h.view, guard: hookGuard(silent) }, { slice: 1000, rest: 0 });
  const out = new Set<string>();
  const ports = Array.from(h.model.view.all(portTable), ({ id }) => id);
  for (const family of [4, 6] as const) {
    const able = ports.filter((id) => reacher.starts(id, family));
    for (const from of [...able, EXTERNAL]) {
      for (const to of [...able, undefined]) {
        if (from === (to ?? EXTERNAL)) continue;
        for (const { protocol, number, port } of ASKED) {
          const question = { from, to: to ?? EXTERNAL_ADDRESS[family], family, protocol: number === 1 && family === 6 ? 58 : number, ...(port !== undefined && { port }) };
          if (await reacher.reaches(question, to)) out.add(`${from} ${to ?? "external"} IPv${family} ${protocol === "icmp" && family === 6 ? "icmpv6" : protocol} ${port ?? "-"}`);
        }
      }
    }
  }
  return out;
}

const covers = (one: Reach, port: string): boolean => one.port === null || (Number(port) >= one.port && Number(port) <= (one.port_max ?? one.port));

/** What is told and not so, and what is so and not told. */
export function wrong(told: { readonly gained: readonly Reach[]; readonly lost: readonly Reach[] }, before: ReadonlySet<string>, after: ReadonlySet<string>): string[] {
  const out: string[] = [];
  const says = (list: readonly Reach[], entry: string): boolean => {
    const [from, to, ethertype, protocol, port] = entry.split(" ");
    return list.some((one) => one.address === undefined && one.from === from && one.to === to && one.ethertype === ethertype && one.protocol === protocol && covers(one, port!));
  };
  for (const entry of new Set([...before, ...after])) {
    const change = before.has(entry) === after.has(entry) ? "" : after.has(entry) ? "gained" : "lost";
    for (const kind of ["gained", "lost"] as const) if (says(told[kind], entry) !== (change === kind)) out.push(`${entry}: ${says(told[kind], entry) ? `told as ${kind}, but it is not` : `${kind}, but not told`}`);
  }
  // Of pairs that are joined neither before nor after nothing is told.
  const joined = new Set([...before, ...after].map((entry) => entry.split(" ").slice(0, 3).join(" ")));
  for (const one of [...told.gained, ...told.lost]) if (one.address === undefined && one.port === null && !joined.has(`${one.from} ${one.to} ${one.ethertype}`)) out.push(`told of ${JSON.stringify(one)}, which are joined neither before nor after`);
  return out;
}
