// What is done to a simulated cluster: calls of clients, what hypervisors do, and faults, each at a time. A plan follows from a seed, and is text that
// can be run again; any of its steps may be left out.
import { SeededRandom } from "../../src/lib/random.ts";

export type Step = { readonly at: number } & (
  // --- clients; `via`: which controller is asked ---
  | { readonly do: "network"; readonly n: number; readonly via: number }
  | { readonly do: "port"; readonly p: number; readonly n: number; readonly via: number }
  | { readonly do: "rename"; readonly p: number; readonly to: string; readonly via: number }
  | { readonly do: "delete"; readonly p: number; readonly via: number }
  // --- hypervisors ---
  | { readonly do: "plug"; readonly p: number; readonly host: number }
  | { readonly do: "unplug"; readonly p: number }
  // --- faults, all of which are over at the end ---
  /** `sends`: after so many more messages; 0: at once. `silent`: its machine with it. */
  | { readonly do: "crash"; readonly c: number; readonly sends: number; readonly silent: boolean; readonly forMs: number }
  | { readonly do: "freeze"; readonly c: number; readonly forMs: number }
  | { readonly do: "cut"; readonly a: string; readonly b: string; readonly forMs: number }
  | { readonly do: "break"; readonly a: string; readonly b: string }
  | { readonly do: "clock"; readonly c: number; readonly byMs: number }
  | { readonly do: "no-leader"; readonly forMs: number }
  | { readonly do: "isolate"; readonly member: number; readonly forMs: number }
  | { readonly do: "lose-answers"; readonly count: number }
  | { readonly do: "slow-disk"; readonly ms: number; readonly forMs: number }
  | { readonly do: "slow-network"; readonly ms: number; readonly forMs: number }
  | { readonly do: "compact" }
  | { readonly do: "restart-switch"; readonly host: number }
);

export interface Plan {
  readonly seed: number;
  readonly controllers: number;
  readonly hosts: number;
  readonly steps: readonly Step[];
}

/** When the first step is made, and the last: before it all is up, after it all heals. */
export const FIRST_MS = 1500;
export const LAST_MS = 16_000;
const CALLS = 60;
const FAULTS = 8;

export function makePlan(seed: number): Plan {
  const random = new SeededRandom(seed * 7919 + 13);
  const pick = (n: number): number => Math.floor(random.next() * n);
  const [controllers, hosts] = [pick(4) === 0 ? 3 : 2, 1 + pick(2)];
  const time = (): number => Math.round(FIRST_MS + random.next() * (LAST_MS - FIRST_MS));
  const span = (): number => Math.round(200 * 2 ** (random.next() * 5.2));
  const controller = (): string => `c${1 + pick(controllers)}`;
  const steps: Step[] = [];
  for (let n = 0; n < 2; n++) steps.push({ at: FIRST_MS + 20 * n, do: "network", n, via: pick(controllers) });
  let last = { at: 0, via: 0 };
  for (let i = 0; i < CALLS; i++) {
    // Half of them come with the one before, to another controller.
    const together = i > 0 && pick(2) === 0;
    const at = together ? last.at : time();
    const p = pick(10);
    const via = together ? (last.via + 1) % controllers : pick(controllers);
    last = { at, via };
    const kind = pick(20);
    if (kind === 0) steps.push({ at, do: "network", n: 2 + pick(2), via });
    else if (kind < 9) steps.push({ at, do: "port", p, n: pick(kind < 3 ? 4 : 2), via }, { at: at + pick(900), do: "plug", p, host: pick(hosts) });
    else if (kind < 14) steps.push({ at, do: "rename", p, to: `v${i}`, via });
    else if (kind < 16) steps.push({ at, do: "delete", p, via });
    else if (kind < 18) steps.push({ at, do: "unplug", p });
    else steps.push({ at, do: "plug", p, host: pick(hosts) });
  }
  for (let i = 0; i < FAULTS; i++) {
    const at = time();
    const c = pick(controllers);
    const kind = pick(22);
    if (kind < 5) steps.push({ at, do: "crash", c, sends: pick(3) === 0 ? 0 : 1 + pick(40), silent: pick(3) === 0, forMs: span() });
    else if (kind < 8) steps.push({ at, do: "freeze", c, forMs: span() });
    else if (kind < 12) {
      const other = pick(3) === 0 ? `etcd${1 + pick(3)}` : `hv${1 + pick(hosts)}`;
      steps.push({ at, do: "cut", a: controller(), b: other, forMs: span() });
    } else if (kind < 13) {
      // From all of etcd.
      const [a, forMs] = [controller(), span()];
      for (const m of [1, 2, 3]) steps.push({ at, do: "cut", a, b: `etcd${m}`, forMs });
    } else if (kind < 14) steps.push({ at, do: "break", a: controller(), b: pick(2) === 0 ? `etcd${1 + pick(3)}` : `hv${1 + pick(hosts)}` });
    else if (kind < 15) steps.push({ at, do: "clock", c, byMs: Math.round((random.next() - 0.5) * 7_200_000) });
    else if (kind < 16) steps.push({ at, do: "no-leader", forMs: span() });
    else if (kind < 17) steps.push({ at, do: "isolate", member: pick(3), forMs: span() });
    else if (kind < 19) steps.push({ at, do: "lose-answers", count: 1 + pick(3) });
    else if (kind < 20) steps.push({ at, do: pick(2) === 0 ? "slow-disk" : "slow-network", ms: 5 + pick(300), forMs: span() });
    else if (kind < 21) steps.push({ at, do: "compact" });
    else steps.push({ at, do: "restart-switch", host: pick(hosts) });
  }
  steps.sort((a, b) => a.at - b.at);
  return { seed, controllers, hosts, steps };
}

/** As it is given to AXION_SEED. */
export const textOf = (plan: Plan): string => JSON.stringify(plan);

/** The same failure with fewer steps: halves, then smaller pieces, then single steps are left out while it still fails. `budget`: runs, at most. */
export async function shrink(plan: Plan, fails: (plan: Plan) => Promise<boolean>, budget = 60): Promise<Plan> {
  let best = plan;
  let runs = 0;
  for (let size = Math.ceil(best.steps.length / 2); size >= 1;) {
    let shorter = false;
    for (let at = 0; at < best.steps.length && runs < budget; ) {
      const tried = { ...best, steps: [...best.steps.slice(0, at), ...best.steps.slice(at + size)] };
      runs++;
      if (await fails(tried)) {
        best = tried;
        shorter = true;
      } else at += size;
    }
    if (runs >= budget || (size === 1 && !shorter)) break;
    if (size > 1) size = Math.floor(size / 2);
  }
  return best;
}
