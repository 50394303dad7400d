// A small cloud for the tests here: one dual-stack network with a router, one VM, and frames as the VM sends them.
import { chassisTable, vifTable, type Fact, type LiveView, type PacketIn, type Row, type Table } from "#app";
import {
  buildDhcp, buildEthernet, buildIcmpv6, buildIpv4, buildIpv6, buildRouterSolicitation, buildUdp, decodeDhcpOption, dhcpOptionName, ethertypes, icmpv6Types,
  ipProtocols, parseDhcp, parsePacket, type DhcpInput,
} from "packet-codec";
import { addressId, addressTable, deviceOwner, networkTable, portTable, type Address, type Port } from "../l2/model.ts";
import { routerInterfaceTable, routerTable } from "../l3/model.ts";
import { subnetTable, type Subnet } from "../ipam/model.ts";
import { Rows } from "../../test/support/rows.ts";

export const MAC = "fa:16:3e:00:00:01";
export const ROUTER_MAC = "fa:16:3e:00:00:fe";
export const PORT_KEY = 17;
const OFPORT = 5;
const standard = { project_id: "p1", name: "", description: "", created_at: "", updated_at: "", revision_number: 1, tags: [] };

export class Cloud {
  private readonly rows = new Rows();

  constructor() {
    this.chassis("hv1", 1);
    this.put(networkTable, { ...standard, id: "net", key: 100, admin_state_up: true, shared: false, port_security_enabled: true });
    this.subnet("v4", { cidr: "10.0.0.0/24", gateway_ip: "10.0.0.1", dns_nameservers: ["8.8.8.8", "9.9.9.9"] });
    this.port("vm", PORT_KEY, { mac_address: MAC });
    this.plug("vm", "hv1", OFPORT);
    this.address("vm", "v4", "10.0.0.10", 0);
  }

  get view(): LiveView {
    return this.rows.view;
  }

  learn(fact: Fact): void {
    this.rows.learn(fact);
  }

  put<R extends Row>(table: Table<R>, row: R): this {
    this.rows.put(table, row);
    return this;
  }
  chassis(id: string, key: number): this {
    return this.put(chassisTable, {
      id, hostname: id, key, bridge: "br-int", dpid: "", datapath_type: "", encap_ip: `192.0.2.${key}`, encap_types: ["geneve"], bridge_mappings: {}, gateway: false, ovs_version: "",
    });
  }
  /** An interface of the port: its slot is 4 above its number. */
  plug(port: string, chassis: string, ofport: number): this {
    return this.put(vifTable, { id: `${chassis}/tap${ofport}`, chassis, iface_id: port, name: `tap${ofport}`, ofport, slot: ofport + 4 });
  }
  change<R extends Row>(table: Table<R>, id: string, changes: Partial<R>): this {
    return this.put(table, { ...this.view.get(table, id)!, ...changes });
  }
  subnet(id: string, s: Partial<Subnet> & { cidr: string }): this {
    return this.put<Subnet>(subnetTable, {
      ...standard, id, network_id: "net", ip_version: s.cidr.includes(":") ? 6 : 4, gateway_ip: null, allocation_pools: [], dns_nameservers: [], host_routes: [],
      enable_dhcp: true, ipv6_ra_mode: null, ipv6_address_mode: null, ...s,
    });
  }
  port(id: string, key: number, p: Partial<Port>): this {
    return this.put(portTable, {
      ...standard, id, key, network_id: "net", mac_address: MAC, admin_state_up: true, device_id: "", device_owner: "", port_security_enabled: true,
      allowed_address_pairs: [], ...p,
    });
  }
  address(port: string, subnet: string, ip: string, position: number): this {
    return this.put<Address>(addressTable, { id: addressId("net", ip), network_id: "net", port_id: port, subnet_id: subnet, ip, family: ip.includes(":") ? 6 : 4, position });
  }
  /** A router with these (subnet, address) pairs on the network. */
  router(...addresses: [subnet: string, ip: string][]): this {
    this.put(routerTable, { ...standard, id: "r", key: 3, admin_state_up: true, routes: [] });
    this.port("rif", 99, { mac_address: ROUTER_MAC, device_owner: deviceOwner.routerInterface, device_id: "r" });
    addresses.forEach(([subnet, ip], i) => this.address("rif", subnet, ip, i));
    return this.put(routerInterfaceTable, { id: "rif", router_id: "r", network_id: "net" });
  }
}

export const packetIn = (data: Uint8Array, registers: Record<string, number> = { in_port_key: PORT_KEY }): PacketIn => ({
  chassis: "hv1", inPort: OFPORT, table: "dhcp_request", data, register: ((name: string) => registers[name] ?? 0),
});

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(":", ""), "hex");
const ip4 = (text: string): Buffer => Buffer.from(text.split(".").map(Number));

export interface Request extends Partial<Omit<DhcpInput, "options">> {
  type: number;
  requested?: string;
  server?: string;
  list?: readonly number[];
  clientId?: string;
  maxSize?: number;
  more?: readonly [number, Buffer][];
}

export function dhcpFrame({ type, requested, server, list, clientId, maxSize, more, ...fields }: Request): Buffer {
  const options = new Map<number, Uint8Array>([[53, Buffer.of(type)]]);
  if (clientId !== undefined) options.set(61, hex(clientId));
  if (requested !== undefined) options.set(50, ip4(requested));
  if (server !== undefined) options.set(54, ip4(server));
  if (maxSize !== undefined) options.set(57, Buffer.of(maxSize >> 8, maxSize & 255));
  if (list !== undefined) options.set(55, Buffer.from(list));
  for (const [code, data] of more ?? []) options.set(code, data);
  const ends = { src: fields.ciaddr ?? "0.0.0.0", dst: "255.255.255.255" };
  const udp = buildUdp({ src_port: 68, dst_port: 67 }, buildDhcp({ op: 1, xid: 0x12345678, chaddr: MAC, ...fields, options }), ends);
  return buildEthernet({ dst: "ff:ff:ff:ff:ff:ff", src: MAC, ethertype: ethertypes.ipv4 }, buildIpv4({ ...ends, protocol: ipProtocols.udp }, udp));
}

export function solicitation(given: { src?: string; hop_limit?: number; code?: number; lladdr?: boolean; unknown?: { type: number; data: Uint8Array }[] } = {}): Buffer {
  const { src = "fe80::f816:3eff:fe00:1", hop_limit = 255, code = 0 } = given;
  const lladdr = given.lladdr ?? src !== "::";
  const ends = { src, dst: "ff02::2" };
  const body = buildRouterSolicitation({ ...(lladdr && { source_lladdr: MAC }), ...(given.unknown && { unknown: given.unknown }) });
  const icmp = buildIcmpv6({ type: icmpv6Types.routerSolicitation, code }, body, ends);
  return buildEthernet({ dst: "33:33:00:00:00:02", src: MAC, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.icmpv6, hop_limit }, icmp));
}

/** A DHCP frame as text, one field or option a line. */
export function dhcpText(frame: Uint8Array): string {
  const { eth, ipv4, udp } = parsePacket(frame);
  const m = parseDhcp(udp!.payload);
  const lines = [
    `${eth.src} > ${eth.dst}  ${ipv4!.src}:${udp!.src_port} > ${ipv4!.dst}:${udp!.dst_port}  checksums ${ipv4!.checksumOk && udp!.checksumOk === true ? "good" : "bad"}`,
    `op ${m.op} htype ${m.htype} hlen ${m.hlen} hops ${m.hops} xid ${m.xid.toString(16)} secs ${m.secs} flags ${m.flags.toString(16)}`,
    `ciaddr ${m.ciaddr} yiaddr ${m.yiaddr} siaddr ${m.siaddr} giaddr ${m.giaddr} chaddr ${m.chaddr}`,
  ];
  if (m.sname !== "" || m.file !== "") lines.push(`sname ${m.sname} file ${m.file}`);
  for (const [code, data] of m.options) lines.push(`  ${code} ${dhcpOptionName(code) ?? "?"}: ${decodeDhcpOption(code, data)}`);
  return lines.join("\n");
}
