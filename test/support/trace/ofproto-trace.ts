// What Open vSwitch itself says that it would do with a packet, many times a second: ofproto/trace over one connection to the control socket of
// ovs-vswitchd, and its answer taken apart.
import net from "node:net";

/** A control socket of ovs-vswitchd: JSON-RPC 1.0, ovs-appctl(8). */
export class Unixctl {
  private readonly socket: net.Socket;
  private readonly waiting = new Map<number, (answer: { readonly result: string | null; readonly error: string | null }) => void>();
  private broken: Error | undefined;
  private next = 0;
  private text = "";

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.setEncoding("utf8").on("data", (chunk: string) => this.read(chunk));
    socket.on("error", (error) => this.fail(error)).on("close", () => this.fail(new Error("the control socket was closed")));
  }

  static connect(path: string): Promise<Unixctl> {
    return new Promise((done, refuse) => {
      const socket = net.connect(path, () => done(new Unixctl(socket)));
      socket.once("error", refuse);
    });
  }

  /** @throws Error with what the daemon says */
  async call(method: string, ...params: string[]): Promise<string> {
    if (this.broken !== undefined) throw this.broken;
    const id = this.next++;
    const answer = await new Promise<{ readonly result: string | null; readonly error: string | null }>((done) => {
      this.waiting.set(id, done);
      this.socket.write(JSON.stringify({ method, params, id }));
    });
    if (answer.error !== null) throw new Error(`${method}: ${answer.error.trim()}`);
    return answer.result ?? "";
  }

  close(): void {
    this.socket.destroy();
  }

  private fail(error: Error): void {
    this.broken ??= error;
    for (const done of this.waiting.values()) done({ result: null, error: error.message });
    this.waiting.clear();
  }

  /** Answers stand behind each other without anything between. */
  private read(chunk: string): void {
    this.text += chunk;
    for (;;) {
      const end = endOfObject(this.text);
      if (end < 0) return;
      const answer = JSON.parse(this.text.slice(0, end)) as { id: number; result: string | null; error: string | null };
      this.text = this.text.slice(end);
      this.waiting.get(answer.id)?.(answer);
      this.waiting.delete(answer.id);
    }
  }
}

function endOfObject(text: string): number {
  let depth = 0;
  for (let i = 0, quoted = false; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === "\\") i++;
      else if (c === '"') quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === "{") depth++;
    else if (c === "}" && --depth === 0) return i + 1;
  }
  return -1;
}

export interface TracedLookup {
  readonly table: number;
  /** -1: no flow matched. */
  readonly priority: number;
  readonly cookie: bigint;
}

/** From the packet's arrival, or from a recirculation, to the end. */
export interface TracedPass {
  readonly flow: string;
  readonly lookups: readonly TracedLookup[];
  /** "unchanged", or fields; undefined: what it shows is of the other branch. */
  readonly final: string | undefined;
  readonly actions: string;
  /** What the translation failed of. */
  readonly error: string | undefined;
}

/**
 * Passes of a trace of one bridge. Where the switch looks at a packet's length it shows what longer packets do, then what others do. `longerAt`: those
 * of a packet that is longer at that check, from 0, and at none before; beyond the last: at none. Absent: all as shown. A packet that is too long for
 * something goes through no more passes. @throws Error when the text is none
 */
export function parseTrace(text: string, longerAt?: number): TracedPass[] {
  const passes: TracedPass[] = [];
  let left = longerAt;
  for (const part of text.split(/^=+\nrecirc\([^\n]*\n(?:Replacing[^\n]*\n[^\n]*\n[^\n]*\n)?=+$/m)) {
    const line = (head: string): string => new RegExp(`^${head}: (.*)$`, "m").exec(part)?.[1] ?? "";
    if (line("Flow") === "" || line("Datapath actions") === "") throw new Error(`no trace: ${text}`);
    const shown = left === undefined ? { text: part, checks: 0, longer: false } : oneWay(part, left);
    const lookups = [...shown.text.matchAll(/^ *(\d+)\. (No match\.|(?:.*[ ,])?priority (\d+)(?:, cookie (0x[0-9a-f]+))?$)/gm)]
      .map((m) => ({ table: Number(m[1]), priority: m[3] === undefined ? -1 : Number(m[3]), cookie: BigInt(m[4] ?? 0) }));
    passes.push({ flow: line("Flow"), lookups, final: shown.longer ? undefined : line("Final flow"), actions: line("Datapath actions"), error: /^Translation failed \((.*)\), packet is dropped\.$/m.exec(part)?.[1] });
    if (shown.longer) break;
    if (left !== undefined) left -= shown.checks;
  }
  return passes;
}

const CHECK = /^ +check_pkt_larger\(/;
/** How often a trace looks at the length of a packet that is never longer. */
export const checksIn = (text: string): number => text.split("\n").filter((l) => CHECK.test(l)).length;

/**
 * The way of one packet through a pass. What follows check_pkt_larger is there twice, and begins with the same line at the same depth; nothing that is done
 * with longer packets looks at the length again.
 */
export function oneWay(text: string, longerAt: number): { readonly text: string; readonly checks: number; readonly longer: boolean } {
  let lines = text.split("\n");
  for (let from = 0, checks = 0; ; checks++) {
    const check = lines.findIndex((l, i) => i >= from && CHECK.test(l));
    if (check < 0) return { text: lines.join("\n"), checks, longer: false };
    const second = lines.indexOf(lines[check + 1]!, check + 2);
    if (second < 0) throw new Error(`one branch of check_pkt_larger alone: ${text}`);
    if (checks === longerAt) return { text: lines.slice(0, second).join("\n"), checks: checks + 1, longer: true };
    lines = [...lines.slice(0, check + 1), ...lines.slice(second)];
    from = check + 1;
  }
}

/** A datapath action: its name, arguments by key (or in order), and actions in it. */
export interface DatapathAction {
  readonly name: string;
  readonly args: readonly string[];
}

/** "a,b(c,d),e" -> a; b with c and d; e. */
export function parseDatapathActions(text: string): DatapathAction[] {
  return splitTop(text).map((part) => {
    const open = part.indexOf("(");
    return open < 0 ? { name: part, args: [] } : { name: part.slice(0, open), args: splitTop(part.slice(open + 1, -1)) };
  });
}

function splitTop(text: string): string[] {
  const out: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "(") depth++;
    else if (text[i] === ")") depth--;
    else if (text[i] === "," && depth === 0) {
      out.push(text.slice(from, i));
      from = i + 1;
    }
  }
  if (from < text.length) out.push(text.slice(from));
  return out.map((s) => s.trim());
}
