// For the tests here: a controller without switches, and a machine that sends DHCPv6 messages.
import { expect } from "vitest";
import {
  buildDhcp6, buildEthernet, buildIpv6, buildUdp, dhcp6Groups, dhcp6MessageTypes, dhcp6Value, ethertypes, ipProtocols, ipv6MulticastMac, linkLocal, parseDhcp6, parsePacket,
  type Dhcp6ClientMessage, type Dhcp6Nested, type Dhcp6Option, type Duid,
} from "packet-codec";
import { addressesOf, portTable } from "../l2/model.ts";
import { Harness, type HarnessOptions } from "../../test/support/harness.ts";

export const type = dhcp6MessageTypes;
export const CLIENT: Duid = { type: "LLT", value: { hardware_type: 1, time_s: 7, lladdr: "fa:16:3e:00:00:01" } };

export interface Sent {
  readonly mac?: string;
  readonly src?: string;
  readonly dst?: string;
  readonly raw?: Buffer;
}

/** An IA_NA of a client that names these addresses. */
export const ia = (iaid: number, ...addresses: string[]): Dhcp6Option => ({ option: "IA_NA", value: { iaid, t1_s: 0, t2_s: 0, options: addresses.map(named) } });
export const named = (address: string): Dhcp6Option => ({ option: "IAADDR", value: { address, preferred_lifetime_s: 0, valid_lifetime_s: 0, options: [] } });

export class Cloud {
  h: Harness;
  private ofports = 0;

  private constructor(h: Harness) {
    this.h = h;
  }

  static async make(options: HarnessOptions = {}): Promise<Cloud> {
    const h = await Harness.make([], undefined, options);
    await h.addChassis("hv1");
    return new Cloud(h);
  }

  /** A network with a subnet of a mode, and a port on it. */
  async network(mode: string, more: object = {}, port: object = {}): Promise<{ net: string; subnet: string; port: string }> {
    const net = (await this.h.create("network", {})).id;
    const subnet = (await this.h.create("subnet", { network_id: net, ip_version: 6, cidr: "fd00:1::/64", ipv6_ra_mode: mode, ipv6_address_mode: mode, ...more })).id;
    return { net, subnet, port: await this.port(net, port) };
  }

  async port(net: string, more: object = {}): Promise<string> {
    const { id } = await this.h.create("port", { network_id: net, ...more });
    await this.h.plug("hv1", id, ++this.ofports);
    await this.h.settled();
    return id;
  }

  addresses(port: string): string[] {
    return addressesOf(this.h.view, port, 6).map(({ ip }) => ip);
  }

  /** What is sent back for a message, if anything. */
  ask(portId: string, msg_type: number, options: Dhcp6Option[], { mac, src, dst = dhcp6Groups.relaysAndServers, raw }: Sent = {}): Dhcp6ClientMessage | undefined {
    const port = this.h.view.get(portTable, portId)!;
    const from = mac ?? port.mac_address;
    const ends = { src: src ?? linkLocal(from), dst };
    const datagram = buildUdp({ src_port: 546, dst_port: 547 }, raw ?? buildDhcp6({ msg_type, transaction_id: 0xabcdef, options }), ends);
    const data = buildEthernet({ dst: ipv6MulticastMac(dst), src: from, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.udp, hop_limit: 1 }, datagram));
    const out = this.h.packets.handle({ chassis: "hv1", inPort: 1, tableId: this.h.layout.table("dhcp6_request").id, data, match: { [this.h.layout.register("in_port_key").field]: port.key } });
    expect(this.h.complaints).toEqual([]);
    if (out.length === 0) return undefined;
    expect(out).toHaveLength(1);
    const frame = parsePacket(Buffer.from((out[0] as { data: Uint8Array }).data));
    expect(frame.eth).toMatchObject({ dst: from, src: "fe:ff:ff:ff:ff:01" });
    expect(frame.ipv6).toMatchObject({ src: linkLocal("fe:ff:ff:ff:ff:01"), dst: ends.src });
    expect(frame.udp).toMatchObject({ src_port: 547, dst_port: 546, checksumOk: true });
    const message = parseDhcp6(frame.udp!.payload) as Dhcp6ClientMessage;
    expect(message.transaction_id).toBe(0xabcdef);
    return message;
  }

  /** The server's identifier, as it says it. */
  server(port: string): Duid {
    return dhcp6Value(this.ask(port, type.informationRequest, [])!, "SERVERID")!;
  }
}

export const client: Dhcp6Option = { option: "CLIENTID", value: CLIENT };
export const server = (value: Duid): Dhcp6Option => ({ option: "SERVERID", value });
export const asks = (...codes: number[]): Dhcp6Option => ({ option: "ORO", value: codes });

/** IAs of an answer: what each holds, an address with its lifetimes or a status. */
export const held = (message: Dhcp6Nested | undefined): unknown[] => (message?.options ?? []).flatMap((item) =>
  item.option === "IA_NA" || item.option === "IA_TA" || item.option === "IA_PD"
    ? [[item.option, item.value.iaid, ...item.value.options.map((inner) =>
        inner.option === "IAADDR" ? `${inner.value.address} ${inner.value.preferred_lifetime_s}/${inner.value.valid_lifetime_s}`
          : inner.option === "IAPREFIX" ? `${inner.value.prefix}/${inner.value.prefix_length} ${inner.value.preferred_lifetime_s}/${inner.value.valid_lifetime_s}`
            : inner.option === "STATUS_CODE" ? inner.value.status : inner.option)]]
    : []);
export const statusOf = (message: Dhcp6Nested | undefined): number | undefined => (message === undefined ? undefined : dhcp6Value(message, "STATUS_CODE")?.status);
