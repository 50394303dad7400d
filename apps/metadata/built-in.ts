// Answers where there is no Nova: what the model knows of a machine and what an operator gives it, in the two forms that cloud-init reads, EC2's and OpenStack's.
// https://docs.openstack.org/nova/latest/user/metadata.html, https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
import { formatIp, parseCidr, bitsOf, type HttpAnswer, type HttpRequest, type ReadView } from "#app";
import { mtuOf } from "../overlay/model.ts";
import { hostOfAddress, subnetTable, type Subnet } from "../ipam/model.ts";
import { addressesOf, isNetworkPort, networkTable, portTable, type Address, type Port } from "../l2/model.ts";
import { givenTo, type Given, type GivenFile } from "./given.ts";
import { notFound } from "./model.ts";

const OPENSTACK_VERSIONS = ["2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27", "latest"];
/** The first in which there is network_data.json. */
const WITH_NETWORKS = "2015-10-15";
const EC2_VERSIONS = ["1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01", "2009-04-04", "latest"];
/** Ports of one device that are told of. */
const PORTS_MAX = 32;

/** A leaf is its text; a folder lists its names, those of folders with a slash behind. */
type Node = string | Buffer | { readonly [name: string]: Node | undefined };

/** The answer to a machine, by its port. */
export function builtIn(view: ReadView, port: Port, file: GivenFile, { method, url }: Pick<HttpRequest, "method" | "url">): HttpAnswer {
  if (method !== "GET" && method !== "HEAD") return { status: 405, headers: { allow: "GET, HEAD" }, body: "405 Method Not Allowed\n" };
  const names = (url.split("?")[0] ?? "").split("/").filter((name) => name !== "");
  let node: Node | undefined = treeOf(view, port, givenTo(file, port));
  for (const name of names) {
    if (typeof node !== "object" || Buffer.isBuffer(node) || !Object.hasOwn(node, name)) return notFound;
    node = (node as Readonly<Record<string, Node | undefined>>)[name];
    if (node === undefined) return notFound;
  }
  if (typeof node === "string" || Buffer.isBuffer(node)) {
    return { status: 200, headers: { "content-type": names.at(-1)?.endsWith(".json") === true ? "application/json" : "text/plain; charset=UTF-8" }, body: node };
  }
  // EC2 says of each key by which name it goes.
  const isKeys = names.at(-1) === "public-keys";
  const listed = Object.entries(node as Readonly<Record<string, Node | undefined>>).flatMap(([name, below]) => (below === undefined ? [] : [isKeys ? `${name}=key${name}` : typeof below === "string" || Buffer.isBuffer(below) || names.length === 0 || isVersions(names) ? name : `${name}/`]));
  return { status: 200, body: listed.join("\n") };
}
const isVersions = (names: readonly string[]): boolean => names.length === 1 && names[0] === "openstack";

function treeOf(view: ReadView, port: Port, given: Given): Node {
  const name = hostnameOf(view, port, given);
  const user = given.user_data;
  const ec2: Node = { "meta-data": ec2Of(view, port, given, name), "user-data": user };
  const meta = JSON.stringify(metaData(port, given, name));
  const openstack = (version: string): Node => ({
    "meta_data.json": meta, user_data: user, "vendor_data.json": version < "2013-10-17" ? undefined : "{}", "network_data.json": version < WITH_NETWORKS ? undefined : JSON.stringify(networkData(view, port)),
  });
  return { ...Object.fromEntries(EC2_VERSIONS.map((v) => [v, ec2])), openstack: Object.fromEntries(OPENSTACK_VERSIONS.map((v) => [v, openstack(v)])) };
}

/** What it is, to whoever asks for an id: the device that the port is of, by which others of its ports are known too. */
const instanceOf = ({ id, device_id }: Port): string => (device_id === "" ? id : device_id);

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;
function hostnameOf(view: ReadView, port: Port, { hostname }: Given): string {
  if (hostname !== undefined) return hostname;
  if (LABEL.test(port.name)) return port.name.toLowerCase();
  const first = addressesOf(view, port.id)[0];
  return first === undefined ? `host-${port.id}` : hostOfAddress(first.ip);
}

function metaData(port: Port, { public_keys = [], meta = {} }: Given, name: string): object {
  return {
    uuid: instanceOf(port), name, hostname: name, project_id: port.project_id, availability_zone: "nova", launch_index: 0, devices: [], meta,
    public_keys: Object.fromEntries(public_keys.map((key, i) => [`key${i}`, key])),
    keys: public_keys.map((data, i) => ({ name: `key${i}`, type: "ssh", data })),
  };
}

/** The ports of a machine, the one that asks first. */
function portsOf(view: ReadView, port: Port): readonly Port[] {
  if (port.device_id === "") return [port];
  const others = view.by(portTable, "device", port.device_id).filter((p) => p.id !== port.id && p.project_id === port.project_id && !isNetworkPort(p));
  return [port, ...others.toSorted((a, b) => (a.id < b.id ? -1 : 1)).slice(0, PORTS_MAX - 1)];
}

function ec2Of(view: ReadView, port: Port, { public_keys = [] }: Given, name: string): Node {
  const of = (id: string, family: 4 | 6): readonly string[] => addressesOf(view, id, family).map((a) => a.ip);
  const macs = Object.fromEntries(portsOf(view, port).map((p): [string, Node] => {
    const v4 = of(p.id, 4);
    const v6 = of(p.id, 6);
    return [p.mac_address, { "local-ipv4s": v4.length === 0 ? undefined : v4.join("\n"), ipv6s: v6.length === 0 ? undefined : v6.join("\n"), mac: p.mac_address }];
  }));
  return {
    "ami-id": "None", "instance-id": instanceOf(port), "instance-type": "None", hostname: name, "local-hostname": name, "local-ipv4": of(port.id, 4)[0], mac: port.mac_address,
    network: { interfaces: { macs } }, placement: { "availability-zone": "nova" },
    "public-keys": public_keys.length === 0 ? undefined : Object.fromEntries(public_keys.map((key, i) => [String(i), { "openssh-key": key }])),
  };
}

function networkData(view: ReadView, port: Port): object {
  const ports = portsOf(view, port);
  const linkOf = (p: Port): string => `tap${p.id.slice(0, 11)}`;
  const links = ports.map((p) => {
    const network = view.get(networkTable, p.network_id);
    return { id: linkOf(p), vif_id: p.id, type: "ovs", mtu: network === undefined ? null : mtuOf(view, network), ethernet_mac_address: p.mac_address };
  });
  const networks = ports.flatMap((p) => addressesOf(view, p.id).flatMap((address) => {
    const subnet = view.get(subnetTable, address.subnet_id);
    return subnet === undefined ? [] : [{ link: linkOf(p), network_id: p.network_id, ...addressData(address, subnet) }];
  })).map((network, i) => ({ id: `network${i}`, ...network }));
  const services = [...new Set(networks.flatMap((n) => n.services.map((s) => s.address)))].map((address) => ({ type: "dns", address }));
  return { links, networks, services };
}

function addressData({ ip, family }: Address, subnet: Subnet) {
  const cidr = parseCidr(subnet.cidr)!;
  const mask = (prefix: number): string => formatIp({ family, value: ((1n << BigInt(prefix)) - 1n) << BigInt(bitsOf(family) - prefix) });
  const type = family === 4 ? (subnet.enable_dhcp ? "ipv4_dhcp" : "ipv4") : subnet.ipv6_address_mode === "slaac" ? "ipv6_slaac" : subnet.ipv6_address_mode === null ? "ipv6" : `ipv6_${subnet.ipv6_address_mode}`;
  const all = family === 4 ? "0.0.0.0" : "::";
  const routes = [
    ...(subnet.gateway_ip === null ? [] : [{ network: all, netmask: all, gateway: subnet.gateway_ip }]),
    ...subnet.host_routes.map(({ destination, nexthop }) => {
      const to = parseCidr(destination)!;
      return { network: formatIp({ family, value: to.network }), netmask: mask(to.prefix), gateway: nexthop };
    }),
  ];
  return { type, ip_address: ip, netmask: mask(cidr.prefix), routes, services: subnet.dns_nameservers.map((address) => ({ type: "dns", address })) };
}
