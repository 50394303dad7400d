// The process by which a guest does its checks (agent.py), as the suite sees it.
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

export class GuestAgent {
  readonly #running: Running;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #commands = 0;

  private constructor(guest: NetNs, name: string, ports: readonly number[]) {
    this.#running = guest.spawn(["python3", path.join(import.meta.dirname, "agent.py"), name, ports.join(",")], {
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
    const agent = new GuestAgent(guest, name, ports);
    await agent.#running.waitFor(/"ready"/);
    return agent;
  }

  /** @throws Error with its last lines when the process has ended, or does not answer */
  ask(command: string, values: Record<string, unknown> = {}, timeoutMs = 60_000): Promise<Answer> {
    const id = ++this.#commands;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to ${command}: ${this.#running.lines.join("\n")}`)), timeoutMs);
      this.#waiting.set(id, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      this.#running.child.stdin?.write(JSON.stringify({ id, do: command, ...values }) + "\n");
    });
  }
}
