// Up to which generation switches have confirmed, and databases of hosts have what is wanted of them, from the controller that is their master to all others: who waits for the data plane asks any
// of them. Told at once where that is asked of etcd now and then, and of what comes without end in parts of the time that etcd leaves; of switches that are
// not as far as most by name.
import type { Logger } from "pino";
import type { Cancel, Clock } from "../lib/clock.ts";
import type { Mastership } from "./mastership.ts";
import type { Members } from "./members.ts";

/** All are as far as `generation`, but for those that are named. */
interface UpTo {
  readonly generation: number;
  readonly behind: Readonly<Record<string, number>>;
}
/** What a master says: up to where its switches have confirmed, and the databases of their hosts have all rows. One of an earlier version says nothing of these. */
interface Said extends UpTo {
  /** Which its switches are (Mastership.share): who thinks that it has others knows nothing of them by this. */
  readonly share: string;
  readonly rows?: UpTo;
}

export interface ConfirmationsOptions {
  readonly members: Pick<Members, "name" | "publish" | "onPublished">;
  readonly mastership: Pick<Mastership, "masterOf" | "share">;
  /** Of members, masters and hosts. */
  readonly onChange: (listener: () => void) => () => void;
  /** Every chassis there is. */
  readonly chassis: () => Iterable<string>;
  /** What a switch of this controller has confirmed, 0: nothing. */
  readonly confirmed: (chassis: string) => number;
  /** The last generation of which the database of a host of this controller has all rows, 0: of none. */
  readonly rows: (chassis: string) => number;
  /** What this controller's switches are told of, at the most. */
  readonly reached: () => number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Told of each master that may have told more. */
  readonly told: ReadonlySet<(master: string) => void>;
}

const TOPIC = "confirmed";
/** From one to the next, on the average: of the time that telling takes, and in between. A few may come one right after the other. */
const SHARE = 2;
const LEAST_PAUSE_MS = 5;
const PAUSE_MS = 100;
const AT_ONCE = 4;
/** Switches that are named; of more all are as far as the last of them. */
const NAMED = 1000;

export class Confirmations {
  private readonly options: ConfirmationsOptions;
  private readonly said = new Map<string, Said>();
  private readonly undo: () => void;
  private last = "";
  /** When the next is due, if they came evenly. */
  private due = -Infinity;
  /** Of late. */
  private tookMs = 0;
  private cancel: Cancel | undefined;
  private telling = false;
  /** Something may have changed since it was looked at for what is being told. */
  private again = false;
  private stopped = false;

  constructor(options: ConfirmationsOptions) {
    this.options = options;
    options.members.onPublished(TOPIC, (name, text) => this.hear(name, text));
    this.undo = options.onChange(() => {
      this.changed();
      // What was said counts for a share, and may do so only now that it is known here too.
      for (const name of this.said.keys()) this.tellOf(name);
    });
  }

  /** As its master has told; 0: nothing. */
  of(chassis: string): number {
    return upTo(this.saidOf(chassis), chassis);
  }

  /** Likewise of the rows of its database. */
  rowsOf(chassis: string): number {
    const said = this.saidOf(chassis);
    return upTo(said?.rows ?? said, chassis);
  }

  private saidOf(chassis: string): Said | undefined {
    const master = this.options.mastership.masterOf(chassis);
    const said = master === undefined ? undefined : this.said.get(master);
    return said?.share === this.options.mastership.share(master ?? "") ? said : undefined;
  }

  /** A switch of this controller may have confirmed more. */
  changed(): void {
    this.again = this.telling;
    if (this.stopped || this.cancel !== undefined || this.telling) return;
    const { clock } = this.options;
    this.cancel = clock.setTimeout(() => {
      this.cancel = undefined;
      void this.tell();
    }, Math.max(0, this.due - (AT_ONCE - 1) * this.pause - clock.monotonic()));
  }

  private get pause(): number {
    return Math.min(PAUSE_MS, Math.max(LEAST_PAUSE_MS, SHARE * this.tookMs));
  }

  stop(): void {
    this.stopped = true;
    this.cancel?.();
    this.undo();
  }

  private async tell(): Promise<void> {
    const { members, clock, log } = this.options;
    const began = clock.monotonic();
    const text = JSON.stringify(this.now());
    if (text === this.last) return;
    this.telling = true;
    this.again = false;
    this.due = Math.max(this.due, began) + this.pause;
    try {
      this.last = text;
      await members.publish(TOPIC, text);
    } catch (error) {
      // It is told with the next lease, or with the next change.
      log.debug({ reason: (error as Error).message }, "what switches have confirmed could not be told to other controllers");
    } finally {
      this.telling = false;
      this.tookMs += (clock.monotonic() - began - this.tookMs) / 4;
    }
    if (this.again) this.changed();
  }

  private now(): Said {
    const { members, mastership, chassis, confirmed, rows, reached } = this.options;
    const generation = reached();
    const mine = Array.from(chassis()).filter((id) => mastership.masterOf(id) === members.name);
    const share = mastership.share(members.name);
    // Of no switch nobody asks, and there is nothing new to tell with every commit.
    if (mine.length === 0) return { share, generation: 0, behind: {} };
    return { share, ...allUpTo(generation, mine, confirmed), rows: allUpTo(generation, mine, rows) };
  }

  private hear(name: string, text: string | undefined): void {
    const said = text === undefined ? undefined : read(text);
    if (said === undefined) this.said.delete(name);
    else this.said.set(name, said);
    this.tellOf(name);
  }

  private tellOf(master: string): void {
    for (const listener of this.options.told) listener(master);
  }
}

const upTo = (said: UpTo | undefined, chassis: string): number => (said === undefined ? 0 : Object.hasOwn(said.behind, chassis) ? said.behind[chassis]! : said.generation);

function allUpTo(generation: number, chassis: readonly string[], of: (chassis: string) => number): UpTo {
  const behind = chassis.map((id) => [id, of(id)] as const).filter(([, up]) => up < generation);
  return behind.length <= NAMED ? { generation, behind: Object.fromEntries(behind) } : { generation: behind.reduce((least, [, up]) => Math.min(least, up), generation), behind: {} };
}

const isUpTo = <T extends Partial<UpTo>>(said: T | null): said is T & UpTo =>
  typeof said?.generation === "number" && typeof said.behind === "object" && said.behind !== null && Object.values(said.behind).every((n) => typeof n === "number");

function read(text: string): Said | undefined {
  try {
    const said = JSON.parse(text) as Partial<Said> | null;
    return isUpTo(said) && typeof said.share === "string" && (said.rows === undefined || isUpTo(said.rows)) ? (said as Said) : undefined;
  } catch {
    return undefined;
  }
}
