// For the tests here: a controller without switches, machines that ask, and name servers outside as a test wants them.
import { expect } from "vitest";
import { buildDns, buildEthernet, buildIpv4, buildIpv6, buildTcp, buildUdp, ethertypes, ipProtocols, parseDns, parsePacket, tcpFlags, type DnsInput, type DnsMessage, type DnsQuestion } from "packet-codec";
import type { ExchangeNetwork } from "../../src/services/index.ts";
import { Harness } from "../../test/support/harness.ts";
import { portTable } from "../l2/model.ts";
import { SERVICE } from "./model.ts";

export const A = (name: string): DnsQuestion => ({ name, type: "A", class: 1 });
type Port = { readonly id: string } & Record<string, never>;

export class Names {
  readonly h: Harness;
  /** Questions that came to name servers, with who was asked. */
  readonly outside: { readonly address: string; readonly port: number; readonly question: DnsMessage }[];
  private readonly servers: Servers;
  private ofports = 0;

  private constructor(h: Harness, servers: Servers) {
    this.h = h;
    this.servers = servers;
    this.outside = servers.asked;
  }

  static async make(): Promise<Names> {
    const servers = new Servers();
    const h = await Harness.make([], undefined, { exchanges: servers });
    await h.addChassis("hv1");
    return new Names(h, servers);
  }

  /** What name servers say to a question; nothing: nobody is there. */
  set answers(answers: Servers["answers"]) {
    this.servers.answers = answers;
  }
  get askedByTcp(): number {
    return this.servers.byTcp;
  }
  /** From now on: what becomes of a question in place of that. */
  set instead(open: ExchangeNetwork["open"] | undefined) {
    this.servers.instead = open;
  }

  async cloud(more: object = {}): Promise<{ net: string; subnet: string; asker: string }> {
    const net = (await this.h.create("network", { name: "blue", ...more })).id;
    const subnet = (await this.h.create("subnet", { network_id: net, ip_version: 4, cidr: "10.0.0.0/24" })).id;
    return { net, subnet, asker: (await this.plugged(net, "10.0.0.9")).id };
  }

  /** A port with this address, plugged at the one host. */
  async plugged(net: string, ip: string, more: object = {}): Promise<Port> {
    const port = await this.h.create("port", { network_id: net, fixed_ips: [{ ip_address: ip }], ...more });
    await this.plug(port.id);
    await this.h.settled();
    return port;
  }
  plug(portId: string): Promise<void> {
    return this.h.plug("hv1", portId, ++this.ofports);
  }

  /** What a machine hears when it asks. */
  async ask(portId: string, message: Partial<DnsInput>, { family = 4, ip = "10.0.0.9", raw }: { family?: 4 | 6; ip?: string; raw?: Buffer } = {}): Promise<DnsMessage | undefined> {
    const port = this.h.view.get(portTable, portId)!;
    const ends = family === 4 ? { src: ip, dst: SERVICE.ipv4 } : { src: ip, dst: SERVICE.ipv6 };
    const datagram = buildUdp({ src_port: 5555, dst_port: 53 }, raw ?? buildDns({ id: 77, rd: true, ...message }), ends);
    const data = buildEthernet(
      { dst: SERVICE.mac, src: port.mac_address, ethertype: family === 4 ? ethertypes.ipv4 : ethertypes.ipv6 },
      family === 4 ? buildIpv4({ ...ends, protocol: ipProtocols.udp }, datagram) : buildIpv6({ ...ends, next_header: ipProtocols.udp }, datagram),
    );
    const before = this.h.sent.length;
    const mine = () => this.h.sent.slice(before).find(({ packet }) => "registers" in packet && packet.registers.out_port_key === port.key);
    this.h.packets.handle({ chassis: "hv1", inPort: 1, tableId: this.h.layout.table("dns_request").id, data, match: { [this.h.layout.register("in_port_key").field]: port.key } });
    for (let n = 0; n < 60; n++) {
      await new Promise((done) => setImmediate(done));
      this.h.clock.advance(0);
      if (mine() !== undefined) break;
    }
    const sent = mine();
    if (sent === undefined) return undefined;
    expect(sent.packet).toMatchObject({ chassis: "hv1", stage: "locate", registers: { from_network: 1 } });
    const frame = parsePacket(Buffer.from(sent.packet.data));
    expect(frame.eth).toMatchObject({ dst: port.mac_address, src: SERVICE.mac });
    expect(frame.ipv4 ?? frame.ipv6).toMatchObject({ src: ends.dst, dst: ends.src });
    expect(frame.udp).toMatchObject({ src_port: 53, dst_port: 5555, checksumOk: true });
    return parseDns(frame.udp!.payload);
  }

  /** What a machine hears on one connection when it writes this; the connection stays. */
  async connection(portId: string, ip = "10.0.0.9", from = 5556): Promise<{ write: (bytes: Buffer) => Promise<Buffer>; flags: () => number }> {
    const port = this.h.view.get(portTable, portId)!;
    const ends = { src: ip, dst: SERVICE.ipv4 };
    let seq = 1000;
    const before = this.h.sent.length;
    const heard = () => this.h.sent.slice(before).map(({ packet }) => parsePacket(Buffer.from(packet.data)).tcp).filter((t) => t?.dst_port === from).map((t) => t!);
    const say = (flags: number, ack: number, payload: Buffer = Buffer.alloc(0)): void => {
      const segment = buildTcp({ src_port: from, dst_port: 53, seq, ack, flags, window: 60_000 }, payload, ends);
      const data = buildEthernet({ dst: SERVICE.mac, src: port.mac_address, ethertype: ethertypes.ipv4 }, buildIpv4({ ...ends, protocol: ipProtocols.tcp }, segment));
      this.h.packets.handle({ chassis: "hv1", inPort: 1, tableId: this.h.layout.table("dns_request").id, data, match: { [this.h.layout.register("in_port_key").field]: port.key } });
      seq += payload.length + (flags === tcpFlags.syn ? 1 : 0);
    };
    const turn = async (): Promise<void> => {
      for (let n = 0; n < 60; n++) {
        await new Promise((done) => setImmediate(done));
        this.h.clock.advance(0);
      }
    };
    say(tcpFlags.syn, 0);
    await turn();
    const iss = heard()[0]!.seq;
    const read = (): Buffer => {
      const parts = new Map(heard().filter((t) => t.payload.length > 0).map((t) => [(t.seq - iss - 1) >>> 0, t.payload]));
      return Buffer.concat([...parts].sort(([a], [b]) => a - b).map(([, payload]) => payload));
    };
    say(tcpFlags.ack, iss + 1);
    return {
      write: async (bytes) => {
        say(tcpFlags.ack | tcpFlags.psh, iss + 1 + read().length, bytes);
        await turn();
        for (let length = -1; length !== read().length;) {
          length = read().length;
          say(tcpFlags.ack, iss + 1 + length);
          await turn();
        }
        return read();
      },
      flags: () => heard().reduce((all, t) => all | t.flags, 0),
    };
  }

  /** What it is told of a name: addresses, or the code of a refusal. */
  async addresses(portId: string, name: string): Promise<unknown> {
    const answer = await this.ask(portId, { questions: [A(name)] });
    return answer?.rcode === 0 ? answer.answers.map((r) => (r.type === "A" ? r.data.address : r.type)) : answer?.rcode;
  }
}

/** Name servers that a test plays. */
class Servers implements ExchangeNetwork {
  readonly asked: { readonly address: string; readonly port: number; readonly question: DnsMessage }[] = [];
  answers: (question: DnsMessage, address: string) => DnsInput[] = () => [];
  instead: ExchangeNetwork["open"] | undefined;
  /** How many questions came by TCP. */
  byTcp = 0;

  open(...[to, data, heard, failed]: Parameters<ExchangeNetwork["open"]>): ReturnType<ExchangeNetwork["open"]> {
    if (this.instead !== undefined) return this.instead(to, data, heard, failed);
    const question = parseDns(data);
    this.asked.push({ ...to, question });
    const replies = this.answers(question, to.address);
    setImmediate(() => {
      if (replies.length === 0) failed(new Error("nobody there"));
      for (const reply of replies) heard(buildDns(reply));
    });
    return { close: () => undefined };
  }

  openStream(...asked: Parameters<ExchangeNetwork["openStream"]>): ReturnType<ExchangeNetwork["openStream"]> {
    this.byTcp++;
    return this.open(...asked);
  }

  nameServers(): readonly { address: string; port: number }[] {
    return [{ address: "192.0.2.53", port: 53 }];
  }
}
