// The processes by which guests do their checks, as the suite sees them: agent.py in each, or farm.py for many.
import path from "node:path";
import type { Running } from "../../../lab/exec.ts";
import type { NetNs } from "../../../lab/netns.ts";

export interface Answer {
  /** The receiver: by its name, or of a ping by its address. */
  readonly answered?: string;
  /** Who says that it does not get there, by ICMP. */
  readonly refused?: string;
  /** The sender as the receiver sees it. */
  readonly as?: string;
  readonly hops?: readonly string[];
  readonly mtus?: readonly number[];
  readonly mac?: string;
  readonly tokens?: readonly string[];
  /** Whether what came back is what was sent. */
  readonly token?: boolean;
  /** How many were sent until one was answered. */
  readonly sent?: number;
  readonly error?: string;
}

/** Takes commands as lines of JSON, and answers each by its id. */
export class GuestAgent {
  readonly #running: Running;
  readonly #waiting = new Map<number, (answer: unknown) => void>();
  #commands = 0;

  private constructor(guest: NetNs, program: string, args: readonly string[]) {
    this.#running = guest.spawn(["python3", path.join(import.meta.dirname, program), ...args], {
      keepLines: 50,
      onLine: (line) => {
        const { id, ...answer } = JSON.parse(line.startsWith("{") ? line : "{}") as Answer & { id?: number };
        if (id === undefined) return;
        this.#waiting.get(id)?.(answer);
        this.#waiting.delete(id);
      },
    });
  }

  /** Resolves when its servers listen. */
  static async start(guest: NetNs, name: string, ports: readonly number[]): Promise<GuestAgent> {
    return GuestAgent.#ready(new GuestAgent(guest, "agent.py", [name, ports.join(",")]));
  }

  static async startFarm(host: NetNs): Promise<GuestAgent> {
    return GuestAgent.#ready(new GuestAgent(host, "farm.py", []));
  }

  static async #ready(agent: GuestAgent): Promise<GuestAgent> {
    await agent.#running.waitFor(/"ready"/);
    return agent;
  }

  get pid(): number {
    return this.#running.pid;
  }

  /** @throws Error with its last lines when the process has ended, or does not answer */
  ask<T = Answer>(command: string, values: Record<string, unknown> = {}, timeoutMs = 60_000): Promise<T> {
    const id = ++this.#commands;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to ${command}: ${this.#running.lines.join("\n")}`)), timeoutMs);
      this.#waiting.set(id, (answer) => {
        clearTimeout(timer);
        resolve(answer as T);
      });
      this.#running.child.stdin?.write(JSON.stringify({ id, do: command, ...values }) + "\n");
    });
  }
}
