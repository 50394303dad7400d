// One run of a plan: controllers, hosts, etcd and clients are made, its steps are made at their times, then everything heals, and when the house has
// settled it is judged. The same plan gives the same run, event by event: what it comes to has a hash.
import { checkIsolation, verdict, watchMasters } from "./check.ts";
import { Known, SimClient } from "./client.ts";
import { apps, SimController } from "./controller.ts";
import { SimEtcd } from "./etcd.ts";
import { SimHost } from "./host.ts";
import { install } from "./machine-globals.ts";
import { Network } from "./network.ts";
import { LAST_MS, type Plan, type Step } from "./plan.ts";
import { running, World } from "./world.ts";

install(running);

export interface Outcome {
  readonly digest: string;
  readonly failures: readonly string[];
  readonly events: number;
  /** How many calls were acknowledged, refused, and left without an answer. */
  readonly calls: { acknowledged: number; refused: number; unknown: number };
}

export interface RunOptions {
  /** Called with each message, commit and line of a controller's log. */
  readonly traced?: (line: string) => void;
  /** All is made, and nothing has happened: whoever tries whether faults are found makes his own. */
  readonly made?: (world: World, hosts: readonly SimHost[]) => void;
}

/** After the last fault: how long it may take until all is as it should be, in the simulation's time. */
const SETTLED_MS = 120_000;
/** Until it is looked at first; then after as long again, and so on. */
const LOOK_MS = 5000;

export async function run(plan: Plan, options: RunOptions = {}): Promise<Outcome> {
  const simulation = new Simulation(plan, options);
  try {
    return await simulation.run();
  } finally {
    simulation.end();
  }
}

class Simulation {
  private readonly plan: Plan;
  private readonly world: World;
  private readonly network: Network;
  private readonly etcd: SimEtcd;
  private readonly controllers: SimController[] = [];
  private readonly hosts: SimHost[] = [];
  private readonly client: SimClient;
  private readonly memory = new Map<string, Known>();
  private readonly calls = { acknowledged: 0, refused: 0, unknown: 0 };
  private looking = false;

  constructor(plan: Plan, { traced, made }: RunOptions) {
    this.plan = plan;
    const world = (this.world = new World(plan.seed));
    world.traced = traced;
    world.logged = traced;
    const network = (this.network = new Network(world));
    this.etcd = new SimEtcd(world, network, 3);
    for (let i = 1; i <= plan.controllers; i++) this.controllers.push(new SimController(world, network, this.etcd, i));
    network.onCrash = (machine) => this.controllers.find((c) => c.machine === machine)?.crash(false);
    for (const controller of this.controllers) controller.start();
    for (let i = 1; i <= plan.hosts; i++) {
      const host = new SimHost(world, network, i, [this.controllers[0]!.manager]);
      watchMasters(world, host);
      host.onChanged = () => this.lookSoon();
      this.hosts.push(host);
    }
    this.client = new SimClient(world, network);
    made?.(world, this.hosts);
  }

  async run(): Promise<Outcome> {
    const { world, plan } = this;
    for (const step of plan.steps) world.after(step.at, undefined, () => this.make(step));
    await world.run(LAST_MS);
    this.heal();
    let wrong: string[] = [];
    for (let ms = LOOK_MS, left = SETTLED_MS; left > 0; left -= ms, ms *= 2) {
      await world.run(world.now + ms);
      wrong = await this.judged();
      if (wrong.length === 0 || world.failures.length > 0) break;
    }
    return { digest: world.digest, failures: [...world.failures, ...wrong], events: world.events, calls: this.calls };
  }

  end(): void {
    for (const { machine } of [...this.controllers, ...this.hosts]) this.network.crashed(machine, true);
  }

  private async judged(): Promise<string[]> {
    const { world } = this;
    let wrong: string[] | undefined;
    const ending = verdict({ world, network: this.network, etcd: this.etcd, controllers: this.controllers, hosts: this.hosts, client: this.client, memory: this.memory, apps: apps() });
    ending.then((found) => (wrong = found), (error: unknown) => (wrong = [`it cannot be judged: ${(error as Error).stack}`]));
    await world.run(world.now + 60_000, () => wrong !== undefined);
    return wrong ?? ["it cannot be judged in a minute"];
  }

  /** Faults end. */
  private heal(): void {
    const { world, network, etcd } = this;
    world.trace("all heals");
    network.mend();
    network.delayMs = 0.2;
    etcd.elect();
    etcd.join();
    etcd.diskMs = 1;
    etcd.loseAnswers = 0;
    for (const controller of this.controllers) {
      controller.machine.sendsLeft = Infinity;
      if (controller.machine.frozen) world.thaw(controller.machine);
      controller.begin();
    }
  }

  private lookSoon(): void {
    if (this.looking) return;
    this.looking = true;
    this.world.after(300, undefined, () => {
      this.looking = false;
      checkIsolation(this.world, this.hosts, this.memory);
    });
  }

  private later(forMs: number, fn: () => void): void {
    this.world.after(forMs, undefined, fn);
  }

  private make(step: Step): void {
    const { world, network, etcd, controllers, hosts } = this;
    world.trace(JSON.stringify(step));
    const at = world.now;
    const healed = (): boolean => world.now >= LAST_MS || at >= LAST_MS;
    switch (step.do) {
      case "network":
        this.create(`n${step.n}`, step.via, () => ["/v2.0/networks", "network", {}], (api, id) => this.client.ask(api, "POST", "/v2.0/subnets", { subnet: { network_id: id, ip_version: 4, cidr: "10.0.0.0/24" } }));
        return;
      case "port":
        this.create(`p${step.p}`, step.via, () => {
          const network_id = this.known(`n${step.n}`).id;
          return network_id === undefined ? undefined : ["/v2.0/ports", "port", { network_id }];
        });
        return;
      case "rename":
        this.change(`p${step.p}`, async (known) => {
          known.maybe.add(step.to);
          const reply = await this.ask(step.via, "PUT", `/v2.0/ports/${known.id!}`, { port: { description: step.to } });
          if (reply === "acknowledged") known.description = step.to;
          if (reply !== "unknown") known.maybe.delete(step.to);
        });
        return;
      case "delete":
        this.change(`p${step.p}`, async (known) => {
          const before = known.there;
          known.there = undefined;
          const reply = await this.ask(step.via, "DELETE", `/v2.0/ports/${known.id!}`);
          known.there = reply === "acknowledged" ? false : reply === "refused" ? before : undefined;
        });
        return;
      case "plug": {
        const { id } = this.known(`p${step.p}`);
        if (id === undefined || hosts.some((host) => host.plugged.has(id))) return;
        hosts[step.host]!.plug(`tap${step.p}`, id);
        return;
      }
      case "unplug":
        for (const host of hosts) host.unplug(`tap${step.p}`);
        return;
      case "crash": {
        const controller = controllers[step.c]!;
        if (!controller.machine.alive) return;
        if (step.sends === 0) controller.crash(step.silent);
        else controller.machine.sendsLeft = step.sends;
        this.later(step.forMs, () => {
          if (healed()) return;
          controller.machine.sendsLeft = Infinity;
          controller.begin();
        });
        break;
      }
      case "freeze": {
        const { machine } = controllers[step.c]!;
        world.freeze(machine);
        this.later(step.forMs, () => {
          if (machine.frozen) world.thaw(machine);
        });
        break;
      }
      case "cut":
        network.interrupt(step.a, step.b);
        this.later(step.forMs, () => network.mend(step.a, step.b));
        break;
      case "break":
        network.breakOff(step.a, step.b);
        break;
      case "clock":
        controllers[step.c]!.skewMs += step.byMs;
        controllers[step.c]!.machine.skewMs = controllers[step.c]!.skewMs;
        break;
      case "no-leader":
        etcd.loseLeader();
        this.later(step.forMs, () => etcd.elect());
        break;
      case "isolate":
        etcd.isolate(step.member);
        this.later(step.forMs, () => etcd.join());
        break;
      case "lose-answers":
        etcd.loseAnswers += step.count;
        break;
      case "slow-disk":
        etcd.diskMs = step.ms;
        this.later(step.forMs, () => void (etcd.diskMs = 1));
        break;
      case "slow-network":
        network.delayMs = step.ms / 4;
        this.later(step.forMs, () => void (network.delayMs = 0.2));
        break;
      case "compact":
        etcd.compactNow();
        break;
      case "restart-switch":
        hosts[step.host]!.restartSwitch();
        break;
    }
    checkIsolation(world, hosts, this.memory);
  }

  // --- clients ---

  private known(name: string): Known {
    let known = this.memory.get(name);
    if (known === undefined) this.memory.set(name, (known = new Known()));
    return known;
  }

  private async ask(via: number, method: string, path: string, body?: object): Promise<"acknowledged" | "refused" | "unknown"> {
    const reply = await this.client.ask(this.controllers[via]!.api, method, path, body);
    const outcome = reply === undefined || reply.status >= 500 ? "unknown" : reply.status < 300 ? "acknowledged" : "refused";
    this.calls[outcome]++;
    return outcome;
  }

  /** Once for a name; what is asked for is known when its turn comes. */
  private create(name: string, via: number, what: () => readonly [path: string, type: string, body: object] | undefined, then?: (api: string, id: string) => Promise<unknown>): void {
    const known = this.known(name);
    if (known.asked) return;
    const asked = what();
    if (asked === undefined) return;
    known.asked = true;
    void known.next(async () => {
      const [path, type, body] = asked;
      known.there = undefined;
      const { api } = this.controllers[via]!;
      const reply = await this.client.ask(api, "POST", path, { [type]: { ...body, name } });
      if (reply === undefined || reply.status >= 500) this.calls.unknown++;
      else if (reply.status === 201) {
        this.calls.acknowledged++;
        known.there = true;
        known.details = reply.body![type] as Readonly<Record<string, unknown>>;
        if (then !== undefined) await then(api, known.details.id as string);
        known.id = known.details.id as string;
      } else {
        this.calls.refused++;
        known.there = false;
      }
    });
  }

  private change(name: string, fn: (known: Known) => Promise<void>): void {
    const known = this.known(name);
    void known.next(async () => {
      if (known.id !== undefined && known.there !== false) await fn(known);
    });
  }
}
