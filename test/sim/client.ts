// A client of the API in the simulation, over HTTP on the simulated network, and what it knows: which calls were acknowledged, which were refused, and
// of which it does not know what became of them.
import type { Network, End } from "./network.ts";
import { running, type Machine, type World } from "./world.ts";

const PATIENCE_MS = 8000;

export interface Reply {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>> | undefined;
}

export class SimClient {
  private readonly world: World;
  private readonly network: Network;
  private readonly machine: Machine;

  constructor(world: World, network: Network) {
    this.world = world;
    this.network = network;
    this.machine = world.machine("client");
    network.place(this.machine, "10.0.3.1");
  }

  /** undefined: no answer came. */
  ask(api: string, method: string, path: string, body?: object): Promise<Reply | undefined> {
    return running.run({ world: this.world, machine: this.machine }, () => new Promise((done) => {
      const end = this.network.dial(this.machine, api, "http");
      const parts: Buffer[] = [];
      const finish = (reply: Reply | undefined): void => {
        clearTimeout(late);
        end.reset();
        this.world.trace(`client ${method} ${path} -> ${reply?.status ?? "nothing"}`);
        done(reply);
      };
      const late = setTimeout(() => finish(undefined), PATIENCE_MS);
      const look = (over: boolean): void => {
        const reply = read(Buffer.concat(parts), over);
        if (reply !== undefined || over) finish(reply);
      };
      const text = body === undefined ? "" : JSON.stringify(body);
      end.handlers = {
        opened: () => end.send(Buffer.from(`${method} ${path} HTTP/1.1\r\nHost: ${api}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`)),
        data: (bytes) => {
          parts.push(bytes);
          look(false);
        },
        ended: () => look(true),
        reset: () => look(true),
      } satisfies NonNullable<End["handlers"]>;
    }));
  }
}

function read(bytes: Buffer, over: boolean): Reply | undefined {
  const at = bytes.indexOf("\r\n\r\n");
  if (at < 0) return undefined;
  const head = bytes.toString("latin1", 0, at);
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(head)![1]);
  let rest = bytes.subarray(at + 4);
  const length = /^content-length: (\d+)/im.exec(head)?.[1];
  if (/^transfer-encoding: chunked/im.test(head)) {
    if (!rest.includes("0\r\n\r\n")) return undefined;
    rest = dechunked(rest);
  } else if (length !== undefined ? rest.length < Number(length) : !over && status !== 204) return undefined;
  return { status, body: rest.length === 0 ? undefined : (JSON.parse(rest.toString()) as Record<string, unknown>) };
}

function dechunked(bytes: Buffer): Buffer {
  const out: Buffer[] = [];
  for (let at = 0; ;) {
    const line = bytes.indexOf("\r\n", at);
    const size = parseInt(bytes.toString("latin1", at, line), 16);
    if (!(size > 0)) return Buffer.concat(out);
    out.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 4 + size;
  }
}

/** What is known of one thing that clients made under a name of its own. */
export class Known {
  /** Which of its calls are under way goes one after the other. */
  private turn: Promise<void> = Promise.resolve();
  id: string | undefined;
  details: Readonly<Record<string, unknown>> = {};
  /** Whether it has to be there at the end; undefined: either is right. */
  there: boolean | undefined = false;
  /** What its description may be at the end. */
  description = "";
  readonly maybe = new Set<string>();
  /** Its creation was asked for. */
  asked = false;

  next(fn: () => Promise<void>): Promise<void> {
    return (this.turn = this.turn.then(fn));
  }
}
