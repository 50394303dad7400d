// A collector of IPFIX (RFC 7011) and sFlow (version 5): what hosts send it, read from the bytes.
import type { NetNs } from "../../lab/netns.ts";
import type { Running } from "../../lab/exec.ts";

/** A record of IPFIX: values of elements by their number, those of an enterprise left out. */
export interface FlowRecord {
  readonly domain: number;
  readonly values: ReadonlyMap<number, bigint>;
}
/** Elements of IANA's registry that tests read. */
export const element = { packets: 2, protocol: 4, tos: 5, direction: 61, point: 138 } as const;

interface TemplateField {
  readonly id: number;
  readonly length: number;
  readonly enterprise: boolean;
}

/** Templates hold for the sender and domain that sent them. RFC 7011 section 8 */
export class IpfixReader {
  private readonly templates = new Map<string, readonly TemplateField[]>();

  /** @throws Error where the message is not formed as it says, or data comes before its template */
  read(from: string, message: Buffer): FlowRecord[] {
    if (message.readUInt16BE(0) !== 10 || message.readUInt16BE(2) !== message.length) throw new Error("no message of IPFIX");
    const domain = message.readUInt32BE(12);
    const records: FlowRecord[] = [];
    for (let at = 16; at < message.length;) {
      const id = message.readUInt16BE(at);
      const end = at + message.readUInt16BE(at + 2);
      const set = message.subarray(at + 4, end);
      if (id === 2 || id === 3) this.learn(`${from} ${domain}`, set, id === 3);
      else if (id >= 256) records.push(...this.recordsOf(`${from} ${domain} ${id}`, domain, set));
      at = end;
    }
    return records;
  }

  /** `options`: a set of options templates, which say how many of the fields are their scope. RFC 7011 section 3.4.2.2 */
  private learn(scope: string, set: Buffer, options: boolean): void {
    for (let at = 0; at + 4 <= set.length;) {
      const [id, count] = [set.readUInt16BE(at), set.readUInt16BE(at + 2)];
      at += options ? 6 : 4;
      const fields: TemplateField[] = [];
      for (let i = 0; i < count; i++) {
        const enterprise = (set.readUInt16BE(at) & 0x8000) !== 0;
        fields.push({ id: set.readUInt16BE(at) & 0x7fff, length: set.readUInt16BE(at + 2), enterprise });
        at += enterprise ? 8 : 4;
      }
      this.templates.set(`${scope} ${id}`, fields);
    }
  }

  private *recordsOf(key: string, domain: number, set: Buffer): Iterable<FlowRecord> {
    const fields = this.templates.get(key);
    if (fields === undefined) throw new Error(`data without a template: ${key}`);
    for (let at = 0; at < set.length;) {
      const values = new Map<number, bigint>();
      for (const { id, length: fixed, enterprise } of fields) {
        let length = fixed;
        if (fixed === 0xffff) {
          length = set.readUInt8(at++);
          if (length === 255) length = set.readUInt16BE((at += 2) - 2);
        }
        if (!enterprise && length > 0 && length <= 8) values.set(id, BigInt(`0x${set.toString("hex", at, at + length)}`));
        at += length;
      }
      yield { domain, values };
    }
  }
}

/** What a datagram of sFlow has: frames that were sampled, as far as their headers go, and how many sets of counters. sFlow version 5 section 5 */
export function readSflow(message: Buffer): { readonly agent: string; readonly frames: readonly Buffer[]; readonly counters: number } {
  if (message.readUInt32BE(0) !== 5 || message.readUInt32BE(4) !== 1) throw new Error("no datagram of sFlow version 5 of an agent with an IPv4 address");
  const agent = [...message.subarray(8, 12)].join(".");
  const frames: Buffer[] = [];
  let counters = 0;
  let at = 28;
  for (let n = message.readUInt32BE(24); n > 0; n--) {
    const [type, length] = [message.readUInt32BE(at), message.readUInt32BE(at + 4)];
    const sample = message.subarray(at + 8, at + 8 + length);
    at += 8 + length;
    if (type === 2) counters++;
    if (type !== 1) continue;
    let record = 32;
    for (let left = sample.readUInt32BE(28); left > 0; left--) {
      const [format, size] = [sample.readUInt32BE(record), sample.readUInt32BE(record + 4)];
      // A raw header, of Ethernet.
      if (format === 1 && sample.readUInt32BE(record + 8) === 1) frames.push(sample.subarray(record + 24, record + 24 + sample.readUInt32BE(record + 20)));
      record += 8 + size;
    }
  }
  return { agent, frames, counters };
}

const PROGRAM = `
import socket, select
ports = {}
for port in (4739, 6343):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4194304)
    s.bind(("", port))
    ports[s] = port
print("listening", flush=True)
while True:
    for s in select.select(list(ports), [], [])[0]:
        data, (address, _) = s.recvfrom(65536)
        print(ports[s], address, data.hex(), flush=True)
`;

/** Listens on the ports of both in a namespace, until it is destroyed. */
export class FlowCollector {
  readonly records: (FlowRecord & { readonly from: string })[] = [];
  readonly sampled: { readonly agent: string; readonly frame: Buffer }[] = [];
  counters = 0;
  private readonly reader = new IpfixReader();
  private readonly running: Running;

  private constructor(node: NetNs) {
    this.running = node.spawn(["python3", "-u", "-c", PROGRAM], { onLine: (line) => this.take(line) });
  }

  static async start(node: NetNs): Promise<FlowCollector> {
    const collector = new FlowCollector(node);
    await collector.running.waitFor(/listening/);
    return collector;
  }

  private take(line: string): void {
    const [, port, from, hex] = /^(\d+) (\S+) ([0-9a-f]+)$/.exec(line) ?? [];
    if (from === undefined || hex === undefined) return;
    const data = Buffer.from(hex, "hex");
    if (port === "4739") this.records.push(...this.reader.read(from, data).map((record) => ({ from, ...record })));
    else {
      const { agent, frames, counters } = readSflow(data);
      this.sampled.push(...frames.map((frame) => ({ agent, frame })));
      this.counters += counters;
    }
  }
}
