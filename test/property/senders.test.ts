// What a port may send leaves it, and nothing else does: random ports with and without port security, random allowed pairs (their own MAC, a virtual one, another port's;
// addresses, prefixes, another port's address), and random frames near what they have, by the interpreter beside a plain model (sender-model.ts).
// Policy lets everything out here. What leaves goes to another host, is answered, or comes to the controller. Known to turn red when the flows ignore the port, MAC or address
// of a source, the MAC or length of a pair, who ARP or neighbour discovery says that sends, its target, options, length, hop limit or code, whose link-local
// address it is, tags, or servers of DHCP.
import { expect, test } from "vitest";
import { SeededRandom } from "../../src/lib/random.ts";
import { everyTrace, packetOfFrame, type TraceSwitch } from "../../src/trace/index.ts";
import { Harness } from "../support/harness.ts";
import { HERE, worldOf } from "../support/topology.ts";
import type { Port } from "./policy-model.ts";
import { bytesOf, drawFrame } from "./sender-frames.ts";
import { mayLeave, probesOwn, type Frame } from "./sender-model.ts";

const nightly = process.env.AXION_NIGHTLY === "1";
const WORLDS = nightly ? 100 : 16;
const ROUNDS = nightly ? 10 : 4;
const FRAMES = nightly ? 3000 : 500;

interface Pair {
  readonly ip_address: string;
  readonly mac_address?: string;
}

class Ports {
  readonly h: Harness;
  private readonly random: SeededRandom;
  private network = "";
  private group = "";
  /** By the OpenFlow port here. */
  readonly here = new Map<number, string>();
  private there = "";
  all: readonly Port[] = [];
  sw!: TraceSwitch;

  constructor(h: Harness, seed: number) {
    this.h = h;
    this.random = new SeededRandom(seed);
  }

  private pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.random.next() * list.length)]!;
  }

  async build(): Promise<void> {
    const { h } = this;
    for (const [i, chassis] of [HERE, "hv1"].entries()) await h.addChassis(chassis, { key: i + 1 });
    this.network = (await h.create("network", { project_id: "p" })).id;
    this.group = (await h.create("security_group", { project_id: "p" })).id;
    const router = (await h.create("router", { project_id: "p" })).id;
    for (const [ip_version, cidr] of [[4, "10.0.0.0/24"], [6, "fd00::/64"]] as const) {
      const subnet_id = (await h.create("subnet", { project_id: "p", network_id: this.network, ip_version, cidr })).id;
      await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id });
    }
    this.there = (await this.port([4, 6])).id;
    await h.plug("hv1", this.there, 9);
    await this.read();
    for (let ofport = 10; ofport < 16; ofport++) {
      const { id } = await this.port(this.pick([[4, 6], [4, 6], [4], [6], []]));
      await this.read();
      await this.allow(id);
      this.here.set(ofport, id);
      await h.plug(HERE, id, ofport);
      await this.read();
    }
  }

  private async port(families: readonly number[]): Promise<{ readonly id: string }> {
    const { subnets } = (await this.h.call("GET", "/v2.0/subnets")).body as { subnets: { id: string; ip_version: number }[] };
    return this.h.create("port", { project_id: "p", network_id: this.network, security_groups: [this.group], fixed_ips: families.map((family) => ({ subnet_id: subnets.find((s) => s.ip_version === family)!.id })) });
  }

  /** Gives a port other pairs, or none of it all. */
  private async allow(id: string): Promise<void> {
    const off = this.random.next() < 0.2;
    const pairs = off ? [] : this.pairs(this.all.find((p) => p.id === id)?.mac_address);
    const body = off ? { port_security_enabled: false, security_groups: [], allowed_address_pairs: [] } : { port_security_enabled: true, security_groups: [this.group], allowed_address_pairs: pairs };
    const answer = await this.h.call("PUT", `/v2.0/ports/${id}`, { port: body });
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  }

  private pairs(own: string | undefined): Pair[] {
    const theirs = this.all.flatMap((p) => p.fixed_ips.map((f) => f.ip_address));
    const ips = ["10.0.0.100", "10.0.0.64/29", "10.0.0.101/32", "10.9.0.0/16", "fd00::100", "fd00::40/122", "fd99::/64", "fe80::/64", "fe80::aa:ff:fe00:1", "0.0.0.0", "::", "0.0.0.0/0", "::/0", ...theirs];
    const macs = [undefined, undefined, "02:aa:00:00:00:01", "00:00:5e:00:01:07", ...this.all.map((p) => p.mac_address)];
    const out = new Map<string, Pair>();
    for (let n = Math.floor(this.random.next() * 4); n > 0; n--) {
      const ip_address = this.pick(ips);
      const mac_address = this.pick(macs);
      out.set(`${ip_address} ${mac_address ?? own}`, { ip_address, ...(mac_address !== undefined && { mac_address }) });
    }
    return [...out.values()];
  }

  async change(): Promise<void> {
    await this.allow(this.pick([...this.here.values()]));
    await this.read();
  }

  private async read(): Promise<void> {
    await this.h.settled();
    this.all = ((await this.h.call("GET", "/v2.0/ports")).body as { ports: Port[] }).ports;
    ({ sw: this.sw } = await worldOf(this.h, [this.network], [...this.here.keys()]));
  }

  draw(): { readonly ofport: number; readonly port: Port; readonly frame: Frame } {
    const [ofport, id] = this.pick([...this.here]);
    const port = this.all.find((p) => p.id === id)!;
    return { ofport, port, frame: drawFrame(this.random, port, this.all.find((p) => p.id === this.there)!, this.all) };
  }

  /** Whether anything comes of a frame, but for copies of what it announces. */
  leaves(ofport: number, frame: Buffer): boolean {
    const copies = this.h.layout.table("announced").id;
    const { traces } = everyTrace(this.sw, packetOfFrame(frame, { metadata: { in_port: ofport } }));
    const each = traces.map(({ outputs, punts }) => outputs.length > 0 || punts.some((p) => p.table !== copies));
    if (new Set(each).size !== 1) throw new Error("the switch may do this or that");
    return each[0]!;
  }
}

test("what a port may send leaves it, and nothing else", { timeout: nightly ? 3_600_000 : 180_000 }, async () => {
  const seen = new Map<string, number>();
  for (let seed = 1; seed <= WORLDS; seed++) {
    const h = await Harness.make([], undefined, { seed });
    try {
      const ports = new Ports(h, seed);
      await ports.build();
      for (let round = 0; round < ROUNDS; round++) {
        if (round > 0) await ports.change();
        expect(h.complaints).toEqual([]);
        for (let n = 0; n < FRAMES; n++) {
          const { ofport, port, frame } = ports.draw();
          const bytes = bytesOf(frame);
          const may = mayLeave(port, frame, bytes.length, ports.all);
          if (may && probesOwn(port, frame, ports.all)) continue;
          if (ports.leaves(ofport, bytes) !== may) expect.fail(`seed ${seed}, round ${round}, frame ${n}: ${may ? "does not leave" : "leaves"}: ${JSON.stringify(frame)}, ${bytes.length} bytes, of ${JSON.stringify({ port, others: ports.all.map((p) => p.mac_address) })}`);
          const what = `${port.port_security_enabled ? "held" : "free"} ${frame.kind === "discovery" ? frame.type : frame.kind} ${may ? "leaves" : "stays"}`;
          seen.set(what, (seen.get(what) ?? 0) + 1);
        }
      }
    } finally {
      await h.close();
    }
  }
  // Each kind of frame does both, but for those that a port with port security never may.
  const never = ["134", "137", "other"].map((kind) => `held ${kind} leaves`);
  const all = ["held", "free"].flatMap((port) => ["arp", "ip", "other", "133", "134", "135", "136", "137"].flatMap((kind) => ["leaves", "stays"].map((what) => `${port} ${kind} ${what}`)));
  for (const what of all.filter((w) => !never.includes(w))) expect(seen.get(what) ?? 0, what).toBeGreaterThan(3);
});
