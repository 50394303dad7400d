// One controller among several: members, mastership and what they tell each other, as the rest of the controller asks for it.
import type { Logger } from "pino";
import type { Cancel, Clock } from "../lib/clock.ts";
import type { Problem } from "../lib/problem.ts";
import type { Random } from "../lib/random.ts";
import { etcdClient, type EtcdAccess } from "../store/etcd/client.ts";
import { Keys } from "../store/etcd/keys.ts";
import { Remote } from "../store/etcd/remote.ts";
import { Confirmations, type ConfirmationsOptions } from "./confirmations.ts";
import { ClusterKeys } from "./keys.ts";
import { Mastership } from "./mastership.ts";
import { HIGHEST } from "./floor.ts";
import { Members } from "./members.ts";
import { refuseUnlikeOf } from "./admission.ts";
import type { MemberRecord } from "./member-record.ts";

export interface ClusterOptions {
  /** "etcd://HOST:PORT,...[/PREFIX]", where the store is. */
  readonly url: string;
  readonly etcd?: EtcdAccess | undefined;
  /** Of this controller. */
  readonly name: string;
  readonly version: string;
  /** Names of its apps, in order. */
  readonly apps: readonly string[];
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
}

/** What hosts there are, the generation at which a row of one changed last, and that of the store. */
interface Known {
  readonly hosts: () => readonly string[];
  readonly generation: () => number;
  readonly newest: () => number;
}

/** As GET /cluster shows it. */
export interface ClusterShown {
  readonly name: string;
  /** Whether this controller may act: false while it cannot renew its lease. */
  readonly lease: boolean;
  readonly term: number;
  readonly trouble: string | null;
  readonly members: readonly (Pick<MemberRecord, "state" | "since" | "version" | "ovsdb" | "api" | "ops"> & { readonly name: string; readonly switches: number })[];
}

/** How long hosts that come or go are gathered: each change of them asks every switch, and may move some. */
const GATHER_MS = 1000;
/** And for each host that there is: while a thousand come, each controller asks hundreds of switches anew. */
const GATHER_HOST_MS = 2;
/** How long it is waited for that others take what a leaving controller has. */
const DRAIN_MS = 1000;
const HEAD_MS = 1000;
/** How far above the term of a switch all terms are raised: others may have heard a later one from whom it is from. */
const ABOVE = 2 ** 20;
/** What a switch says it knows that is further ahead, or beyond what a floor may be, is not believed: terms end somewhere, and a switch may mean harm. */
const FURTHEST = 2 ** 36;
const POLL_MS = 20;

export class Cluster {
  readonly name: string;
  private readonly members: Members;
  private readonly mastership: Mastership;
  private readonly options: ClusterOptions;
  private readonly store: Remote;
  private confirmations: Confirmations | undefined;
  private known: Known | undefined;
  private gathering: Cancel | undefined;
  private refreshing: Promise<void> | undefined;
  private outrunning: Promise<void> | undefined;
  private readonly listeners = new Set<(moved: readonly string[]) => void>();
  /** Since when there is no lease. */
  private lapsedAt: Date | undefined;

  private constructor(options: ClusterOptions, members: Members, store: Remote) {
    this.options = options;
    this.store = store;
    this.name = options.name;
    this.members = members;
    this.mastership = new Mastership(members);
    members.onChange(() => {
      this.lapsedAt = members.holds ? undefined : (this.lapsedAt ?? new Date(options.clock.now()));
    });
  }

  /** Looks whether those that are there are of its kind, before anything is read or written of what they share. @throws UsageError naming what differs, EtcdError */
  static async refuseUnlike({ url, etcd, name, version, apps }: Pick<ClusterOptions, "url" | "etcd" | "name" | "version" | "apps">): Promise<void> {
    const { client, prefix } = etcdClient(url, etcd);
    try {
      await refuseUnlikeOf(client, new ClusterKeys(prefix), { name, version, apps });
    } finally {
      client.close();
    }
  }

  /** Comes in, as one that is nobody's master yet. @throws UsageError when one of its name is there, or one of another kind, EtcdError */
  static async join(options: ClusterOptions): Promise<Cluster> {
    const { url, etcd, name, version, apps, log, clock, random } = options;
    const { client, prefix } = etcdClient(url, etcd);
    const says = { id: random.uuid(), version, apps, since: new Date(clock.now()).toISOString() };
    return new Cluster(options, await Members.join({ client, keys: new ClusterKeys(prefix), name, says, log, clock }), new Remote(client, new Keys(prefix)));
  }

  /** Above that of everybody who knows less of members or hosts (mastership.ts). */
  get term(): number {
    return this.members.floor + this.members.term + this.mastership.term;
  }
  /** How many controllers have their share. */
  get serving(): number {
    return this.members.serving.length;
  }
  /** Whether this one may act. */
  get holds(): boolean {
    return this.members.holds;
  }
  masterOf(chassis: string): string | undefined {
    return this.mastership.masterOf(chassis);
  }
  masters(chassis: string): boolean {
    return this.mastership.masters(chassis);
  }
  /** Who acts now, as far as is known here. */
  get acting(): readonly string[] {
    return this.mastership.acting;
  }
  head(): Promise<number> {
    return this.store.generation(HEAD_MS);
  }
  /** Finds out what there is now, of members and of hosts. @throws EtcdError */
  refresh(): Promise<void> {
    // Whoever is refused by hundreds of switches asks once.
    return (this.refreshing ??= (async () => {
      try {
        // Hosts that come and go just now are known in a moment. Else somebody has a later generation for the same ones.
        if (this.gathering === undefined) this.learn(this.known?.newest() ?? 0);
        await this.members.refresh();
      } finally {
        this.refreshing = undefined;
      }
    })());
  }
  /**
   * A switch knows this term, later than any here. One that nobody of this cluster can have claimed, as neither etcd's revision nor the log is as far, is
   * of another past: the store was put back, or etcd made anew. Then all terms are raised above it (`Members.raise`), unless that was done too often lately.
   * @throws EtcdError
   */
  async outrun(chassis: string, known: bigint): Promise<void> {
    // Of hundreds of switches that refuse one asks for all: what is raised is above what the others know, but for a few, which ask again.
    await (this.outrunning ??= this.raise(chassis, known).finally(() => (this.outrunning = undefined)));
  }

  private async raise(chassis: string, known: bigint): Promise<void> {
    const { members, options: { log } } = this;
    const head = await this.head();
    const revision = await members.refresh();
    const latest = members.floor + revision + Math.max(head, this.mastership.term);
    const ahead = Number(known) - latest;
    if (ahead <= 0 || ahead > FURTHEST || Number(known) + ABOVE > HIGHEST) return; // the problem `role_refused` stays
    const raised = await members.raise(members.floor + ahead + ABOVE, chassis);
    log.warn({ chassis, term: this.term, known: String(known) }, `the switch knows a term that nobody of this cluster has had, as after a store was put back: ${raised ? "terms are raised above it" : "terms were raised too often lately to be raised again"}`);
  }
  /** Who serves, which hosts there are, or whether this one holds its lease, is not as before. `moved`: of these hosts alone another is the master; none: the term is later. */
  onChange(listener: (moved?: readonly string[]) => void): () => void {
    this.listeners.add(listener);
    const undo = this.members.onChange((later) => (later ? listener([]) : listener()));
    return () => {
      this.listeners.delete(listener);
      undo();
    };
  }

  /** Where the hosts that have masters are known. What is returned is called when a row of one changed: that is taken over a second or a few later, with all that changed meanwhile. */
  knowing(known: Known): () => void {
    this.known = known;
    this.learn(known.generation());
    return () => {
      this.gathering ??= this.options.clock.setTimeout(() => {
        this.gathering = undefined;
        this.learn(known.generation());
      }, GATHER_MS + GATHER_HOST_MS * known.hosts().length);
    };
  }

  private learn(generation: number): void {
    const moved = this.known && this.mastership.learn(this.known.hosts(), generation);
    if (moved === undefined) return;
    for (const listener of this.listeners) {
      try {
        listener(moved);
      } catch (error) {
        this.options.log.error({ err: error }, "listener of masters failed");
      }
    }
  }

  get managers(): readonly { readonly name: string; readonly target: string }[] {
    return this.members.all.filter((m) => m.name !== this.name && m.state !== "leaving" && m.ovsdb !== "").map((m) => ({ name: m.name, target: m.ovsdb }));
  }

  /** Begins to tell others what this controller's switches have confirmed, and databases have. What is returned is called when that may be more. */
  confirming(of: Pick<ConfirmationsOptions, "chassis" | "confirmed" | "rows" | "reached">): () => void {
    const { log, clock } = this.options;
    const confirmations = (this.confirmations = new Confirmations({ ...of, members: this.members, mastership: this.mastership, onChange: (listener) => this.onChange(listener), log, clock, told: this.told }));
    return () => confirmations.changed();
  }
  confirmed(chassis: string): number {
    return this.confirmations?.of(chassis) ?? 0;
  }
  rows(chassis: string): number {
    return this.confirmations?.rowsOf(chassis) ?? 0;
  }
  onConfirmed(listener: (master: string) => void): () => void {
    this.told.add(listener);
    return () => this.told.delete(listener);
  }
  private readonly told = new Set<(master: string) => void>();

  /** A host came to an address of this controller that others have to tell their hosts. */
  reached(ovsdb: string): void {
    void this.say({ ovsdb });
  }

  /** From now on it has its share; or it says something else of itself. What etcd does not take now is with the next lease. */
  async say(says: Partial<Pick<MemberRecord, "state" | "ovsdb" | "api" | "ops">>): Promise<void> {
    await this.members.say(says).catch((error: unknown) => this.options.log.warn({ reason: (error as Error).message }, "other controllers cannot be told now"));
  }

  /** Gives what it has to the others, if there are some. `done`: nothing is left. */
  async drain(done: () => boolean): Promise<void> {
    const { clock, log } = this.options;
    const others = this.members.serving.filter((name) => name !== this.name);
    if (others.length === 0) return;
    log.info({ to: others }, "this controller leaves; others take its switches");
    await this.say({ state: "leaving" });
    const end = clock.monotonic() + DRAIN_MS;
    while (clock.monotonic() < end && (this.members.serving.includes(this.name) || !done())) await new Promise<void>((next) => void clock.setTimeout(next, POLL_MS));
  }

  async leave(): Promise<void> {
    this.gathering?.();
    this.confirmations?.stop();
    await this.members.leave();
  }

  /** `chassis`: all there are. */
  shown(chassis: Iterable<string>): ClusterShown {
    const { members } = this;
    const switches = new Map<string, number>();
    for (const id of chassis) {
      const master = this.masterOf(id);
      if (master !== undefined) switches.set(master, (switches.get(master) ?? 0) + 1);
    }
    return {
      name: this.name, lease: members.holds, term: this.term, trouble: members.trouble ?? null,
      members: members.all.map(({ name, state, since, version, ovsdb, api, ops }) => ({ name, state, since, version, ovsdb, api, ops, switches: switches.get(name) ?? 0 })),
    };
  }

  problems(): Problem[] {
    const { members, options: { clock } } = this;
    const found: Problem[] = [];
    if (!members.holds) {
      found.push({
        kind: "no_lease", severity: "critical", since: (this.lapsedAt ?? new Date(clock.now())).toISOString(), resources: [], switches: [],
        text: `this controller cannot renew its lease in etcd: it writes nothing, and others take its switches if they can${members.trouble === undefined ? "" : ` (${members.trouble})`}`,
        cure: { text: "see that etcd runs, has a leader, and is reached from here; it comes in again by itself" },
      });
    }
    for (const [name, { since, said }] of members.gone) {
      found.push({
        kind: "member_gone", severity: "error", since, resources: [], switches: [],
        text: `the controller ${name} is gone without having been stopped: others have its switches${said.api === "" ? "" : `; its API was at ${said.api}`}`,
        cure: { text: `start ${name} again; if it is gone for good, its rows stay on hosts until somebody removes them there (docs/cluster.md), and this is said until this controller is restarted` },
      });
    }
    const versions = new Map(members.all.map(({ name, version }) => [version, name]));
    if (versions.size > 1) {
      found.push({
        kind: "member_version", severity: "warning", since: members.all.reduce((latest, { since }) => (since > latest ? since : latest), ""), resources: [], switches: [],
        text: `controllers of this cluster run ${versions.size} versions: ${members.all.map(({ name, version }) => `${name} ${version}`).join(", ")}; a switch that goes from one to the other may have its flows changed`,
        cure: { text: "upgrade those that are left, one after the other" },
      });
    }
    for (const { name, ovsdb } of members.all) {
      if (ovsdb !== "" || members.all.length < 2) continue;
      found.push({
        kind: "member_unreachable", severity: "warning", since: members.all.find((m) => m.name === name)!.since, resources: [], switches: [],
        text: `the controller ${name} does not say by which address hosts reach it: hosts that were not told of it by their operator do not come to it, and those of which it is the master get no changes`,
        cure: { text: `start ${name} with --advertise ADDRESS` },
      });
    }
    return found;
  }
}
