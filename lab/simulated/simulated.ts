// Many simulated hypervisors beside the real ones of a lab (host.ts), in processes of their own: what they cost is not the test's.
import { existsSync } from "node:fs";
import path from "node:path";
import { repositoryRoot } from "../controller.ts";
import type { Running } from "../exec.ts";
import type { Lab, LabNode } from "../lab.ts";
import type { SimulatedOptions, SimulatedState } from "./host.ts";

export type { SimulatedState } from "./host.ts";

export interface SimulatedHostsOptions {
  /** System-id and plugged ports of the API of each; 65,000 at the most. */
  readonly hosts: readonly Pick<SimulatedOptions, "id" | "ports">[];
  /** What operators have named. */
  readonly managers: readonly string[];
  /** Namespaces from which the hosts are reached. */
  readonly controllers: readonly LabNode[];
  readonly processes?: number;
}

/** Their addresses: one each, as with machines, since limits go by address. */
const PREFIX = "10.77";

export class SimulatedHosts {
  private readonly running: readonly Running[];

  private constructor(running: readonly Running[]) {
    this.running = running;
  }

  static async start(lab: Lab, { hosts, managers, controllers, processes = 2 }: SimulatedHostsOptions): Promise<SimulatedHosts> {
    const main = path.join(repositoryRoot(), "dist/lab/simulated/main.js");
    if (!existsSync(main)) throw new Error(`not built (npm run build): ${main}`);
    const node = await lab.addNode("simulated");
    await node.configure("link set lo up", `route add local ${PREFIX}.0.0/16 dev lo`);
    await Promise.all(controllers.map((controller) => controller.configure(`route add ${PREFIX}.0.0/16 via ${node.ip}`)));
    const all = hosts.map((host, n): SimulatedOptions => ({ ...host, number: n + 1, address: `${PREFIX}.${(n + 1) >> 8}.${(n + 1) & 255}`, managers }));
    const running = Array.from({ length: Math.min(processes, all.length) }, (_, p) => {
      const one = node.spawn([process.execPath, "--enable-source-maps", main], { keepLines: 50 });
      one.child.stdin!.write(`${JSON.stringify(all.filter((_host, n) => n % processes === p))}\n`);
      return one;
    });
    return new SimulatedHosts(running);
  }

  /** Of those that are started by now. */
  async state(): Promise<SimulatedState[]> {
    const answers = await Promise.all(this.running.map(async (one) => {
      one.lines.length = 0;
      one.child.stdin!.write("\n");
      const line = await one.waitFor(/^\[/, 60_000);
      return JSON.parse(line) as SimulatedState[];
    }));
    return answers.flat();
  }

  async stop(): Promise<void> {
    await Promise.all(this.running.map((one) => one.stop("SIGKILL")));
  }
}
