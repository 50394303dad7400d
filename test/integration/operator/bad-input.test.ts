// What callers get wrong, over real HTTP to a real controller: the contract's status and error body, never a 500, and nothing
// changed by any of it.
import net from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ControllerProcess, nightly } from "../../support/process.ts";

const NO_ID = "00000000-0000-4000-8000-00000000dead";
const ADMIN = { "x-project-id": "p1", "x-roles": "admin" };
const MEMBER = { "x-project-id": "p1", "x-roles": "member" };
const OTHER = { "x-project-id": "p2", "x-roles": "member" };

let controller: ControllerProcess;
/** Ids of what is there before anything is asked wrongly, by the names below. */
const id: Record<string, string> = {};

/** Generation when all of the setup was there. */
let ready: number;
beforeAll(async () => {
  controller = await ControllerProcess.start();
  const make = async (name: string, resource: string, values: Record<string, unknown>): Promise<void> => {
    id[name] = (await controller.create(resource, values, MEMBER)).id;
  };
  await make("net", "network", { name: "net" });
  await make("other", "network", { name: "other" });
  await make("tiny", "network", { name: "tiny" });
  await make("subnet", "subnet", { network_id: id.net, ip_version: 4, cidr: "10.0.0.0/24" });
  await make("subnet2", "subnet", { network_id: id.other, ip_version: 4, cidr: "10.0.1.0/24" });
  await make("tinySubnet", "subnet", { network_id: id.tiny, ip_version: 4, cidr: "10.7.0.0/30" });
  await make("tinyPort", "port", { network_id: id.tiny });
  await make("subnet6", "subnet", { network_id: id.net, ip_version: 6, cidr: "fd00::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
  id.port = (await controller.create("port", { network_id: id.net, fixed_ips: [{ ip_address: "10.0.0.50" }], mac_address: "fa:16:3e:00:00:50" }, ADMIN)).id;
  await make("router", "router", { name: "router" });
  await controller.api("PUT", `/v2.0/routers/${id.router}/add_router_interface`, { subnet_id: id.subnet }, MEMBER);
  await make("group", "security_group", { name: "group" });
  await make("rule", "security_group_rule", { security_group_id: id.group, direction: "ingress", protocol: "tcp", port_range_min: 80, port_range_max: 80 });
  ready = await controller.metric("axion_generation");
});

afterAll(async () => controller?.destroy());

/** What the setup calls one of these. */
const namesOf: Readonly<Record<string, string>> = { network: "net", security_group: "group", security_group_rule: "rule" };
const COLLECTIONS = ["networks", "subnets", "ports", "routers", "security-groups", "security-group-rules"] as const;

/** All that the API shows, and what changed anything since the setup. */
async function everything(): Promise<{ readonly shown: string; readonly calls: readonly string[] }> {
  const shown = await Promise.all(COLLECTIONS.map(async (c) => (await controller.api("GET", `/v2.0/${c}`)).text));
  return { shown: shown.join("\n"), calls: await controller.callsAfter(ready) };
}

/** Replaces "@name" by that resource's id, anywhere. */
const withIds = <T>(value: T): T => (value === undefined ? value : (JSON.parse(JSON.stringify(value).replace(/@(\w+)/g, (all, name: string) => id[name] ?? all)) as T));

interface Case {
  readonly about: string;
  readonly method: "POST" | "PUT" | "DELETE" | "GET" | "PATCH" | "OPTIONS";
  readonly path: string;
  /** An object goes as JSON, text as it is. */
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  readonly status: number;
  readonly type: string;
}

type Expected = readonly [about: string, status: number, type: string];
const post = (path: string, body: unknown, [about, status, type]: Expected, headers?: Record<string, string>): Case => ({ about, method: "POST", path, body, status, type, ...(headers && { headers }) });
const put = (path: string, body: unknown, [about, status, type]: Expected, headers?: Record<string, string>): Case => ({ about, method: "PUT", path, body, status, type, ...(headers && { headers }) });
const ask = (method: Case["method"], path: string, [about, status, type]: Expected, headers?: Record<string, string>): Case => ({ about, method, path, status, type, ...(headers && { headers }) });

const BAD = "HTTPBadRequest";
const deep = (levels: number): string => `${"[".repeat(levels)}${"]".repeat(levels)}`;

const envelope: readonly Case[] = [
  post("networks", undefined, ["no body", 400, BAD]),
  post("networks", "", ["an empty body", 400, BAD]),
  post("networks", "{", ["half of JSON", 400, BAD]),
  post("networks", "network=1", ["a form", 400, BAD]),
  post("networks", "null", ["null", 400, BAD]),
  post("networks", "[]", ["a list", 400, BAD]),
  post("networks", "17", ["a number", 400, BAD]),
  post("networks", '"network"', ["a text", 400, BAD]),
  post("networks", '{"network":{}}{"network":{}}', ["two documents", 400, BAD]),
  post("networks", '{"network":{"name":"\u0000\\ud800', ["a broken text", 400, BAD]),
  post("networks", {}, ["an empty object", 400, BAD]),
  post("networks", { port: {} }, ["another resource's body", 400, BAD]),
  post("networks", { network: null }, ["null in the envelope", 400, BAD]),
  post("networks", { network: [] }, ["a list in the envelope", 400, BAD]),
  post("networks", { network: "net" }, ["a text in the envelope", 400, BAD]),
  post("networks", { network: {}, networks: [{}] }, ["one and many at once", 400, BAD]),
  post("networks", { networks: [] }, ["no items", 400, BAD]),
  post("networks", { networks: {} }, ["no list of items", 400, BAD]),
  post("networks", { networks: [{}, null] }, ["an item that is none", 400, BAD]),
  post("networks", { networks: [{ name: "a" }, { name: 7 }] }, ["one bad item among good ones", 400, BAD]),
  post("networks", { networks: Array.from({ length: 1001 }, () => ({})) }, ["too many items", 400, BAD]),
  post("networks", { network: { nmae: "x" } }, ["an unknown attribute", 400, BAD]),
  post("networks", '{"network":{"__proto__":{"name":"x"}}}', ["an attribute named __proto__", 400, BAD]),
  post("networks", '{"network":{"constructor":1}}', ["an attribute named constructor", 400, BAD]),
  post("networks", `{"network":{"name":${deep(20_000)}}}`, ["absurd nesting", 400, BAD]),
  post("networks", deep(200_000), ["nothing but nesting", 400, BAD]),
  post("networks", `{"network":{"name":"${"x".repeat(3 << 20)}"}}`, ["a body of 3 MB", 413, "HTTPRequestEntityTooLarge"]),
  put("networks/@net", undefined, ["a change without a body", 400, BAD]),
  put("networks/@net", {}, ["a change of nothing", 400, BAD]),
  put("networks/@net", { networks: [{ name: "x" }] }, ["a change of many", 400, BAD]),
  put("networks/@net", { network: { id: NO_ID } }, ["another id", 400, BAD]),
  put("networks/@net", { network: { revision_number: 9 } }, ["another revision", 400, BAD]),
];

const values: readonly Case[] = [
  ...["name", "description"].map((name) => post("networks", { network: { [name]: 7 } }, [`a number as ${name}`, 400, BAD])),
  post("networks", { network: { name: "x".repeat(256) } }, ["a name of 256 characters", 400, BAD]),
  post("networks", { network: { admin_state_up: "perhaps" } }, ["no boolean", 400, "InvalidInput"]),
  post("networks", { network: { mtu: "large" } }, ["no integer", 400, "InvalidInput"]),
  post("networks", { network: { mtu: -1 } }, ["a negative MTU", 400, BAD]),
  post("networks", { network: { mtu: 1e308 } }, ["an absurd MTU", 400, "InvalidInput"]),
  post("networks", { network: { project_id: "p2" } }, ["somebody else's project", 400, BAD], MEMBER),
  post("networks", { network: { project_id: "p1", tenant_id: "p2" } }, ["two projects", 400, BAD], ADMIN),
  post("networks", { network: { shared: true } }, ["sharing by a member", 403, "PolicyNotAuthorized"], MEMBER),

  post("subnets", { subnet: { ip_version: 4, cidr: "10.9.0.0/24" } }, ["a subnet of no network", 400, BAD]),
  post("subnets", { subnet: { network_id: "net", ip_version: 4, cidr: "10.9.0.0/24" } }, ["a bad UUID", 400, BAD]),
  post("subnets", { subnet: { network_id: NO_ID, ip_version: 4, cidr: "10.9.0.0/24" } }, ["a network that is not there", 404, "NetworkNotFound"]),
  post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr: "10.9.0.0/24" } }, ["somebody else's network", 404, "NetworkNotFound"], OTHER),
  post("subnets", { subnet: { network_id: "@net", ip_version: 5, cidr: "10.9.0.0/24" } }, ["IP version 5", 400, BAD]),
  post("subnets", { subnet: { network_id: "@net", ip_version: 4 } }, ["no prefix", 400, "BadRequest"]),
  ...["10.9.0.0/33", "10.9.0/24", "10.9.0.0/-1", "fd00::/129", "10.9.0.0/24/7", "", " ", 10, {}, ["10.9.0.0/24"]].map((cidr) =>
    post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr } }, [`prefix ${JSON.stringify(cidr)}`, 400, BAD])),
  post("subnets", { subnet: { network_id: "@net", ip_version: 6, cidr: "10.9.0.0/24" } }, ["a prefix of the other family", 400, "InvalidInput"]),
  post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr: "0.0.0.0/0" } }, ["all addresses", 400, "InvalidInput"]),
  post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr: "224.0.0.0/24" } }, ["multicast", 400, "InvalidInput"]),
  post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr: "127.0.0.0/24" } }, ["loopback", 400, "InvalidInput"]),
  post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr: "10.0.0.128/25" } }, ["an overlap", 400, "InvalidInput"]),
  post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr: "10.9.0.0/24", gateway_ip: "10.9.0.0" } }, ["the network as gateway", 400, "InvalidInput"]),
  post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr: "10.9.0.0/24", gateway_ip: "fd00::1" } }, ["a gateway of the other family", 400, "InvalidInput"]),
  ...([
    ["pools that overlap", [["10.9.0.2", "10.9.0.9"], ["10.9.0.9", "10.9.0.20"]], 409, "OverlappingAllocationPools"],
    ["a pool outside", [["10.8.0.2", "10.8.0.9"]], 400, "OutOfBoundsAllocationPool"],
    ["a pool backwards", [["10.9.0.9", "10.9.0.2"]], 400, "InvalidAllocationPool"],
    ["a pool of two families", [["10.9.0.9", "fd00::2"]], 400, "InvalidAllocationPool"],
    ["a pool with the gateway", [["10.9.0.1", "10.9.0.9"]], 409, "GatewayConflictWithAllocationPools"],
  ] as const).map(([about, pools, status, type]) =>
    post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr: "10.9.0.0/24", allocation_pools: pools.map(([start, end]) => ({ start, end })) } }, [about, status, type])),
  post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr: "10.9.0.0/24", allocation_pools: [{ start: "10.9.0.2" }] } }, ["half a pool", 400, BAD]),
  post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr: "10.9.0.0/24", dns_nameservers: ["9.9.9.9", "9.9.9.9"] } }, ["a nameserver twice", 400, BAD]),
  post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr: "10.9.0.0/24", dns_nameservers: ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6"] } }, ["six nameservers", 400, "DNSNameServersExhausted"]),
  post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr: "10.9.0.0/24", host_routes: [{ destination: "10.1.0.1/24", nexthop: "10.9.0.1" }] } }, ["a route with host bits", 400, BAD]),
  post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr: "10.9.0.0/24", host_routes: "none" } }, ["routes that are no list", 400, BAD]),
  post("subnets", { subnet: { network_id: "@net", ip_version: 4, cidr: "10.9.0.0/24", ipv6_ra_mode: "slaac" } }, ["a mode of IPv6 on IPv4", 400, "InvalidInput"]),
  post("subnets", { subnet: { network_id: "@net", ip_version: 6, cidr: "fd01::/80", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" } }, ["SLAAC on a /80", 400, "InvalidInput"]),
  put("subnets/@subnet", { subnet: { cidr: "10.0.0.0/16" } }, ["another prefix", 400, BAD]),
  ask("DELETE", "subnets/@subnet", ["a subnet in use", 409, "SubnetInUse"]),
  ask("DELETE", "networks/@net", ["a network in use", 409, "NetworkInUse"]),

  post("ports", { port: {} }, ["a port of no network", 400, BAD]),
  post("ports", { port: { network_id: NO_ID } }, ["a network that is not there", 404, "NetworkNotFound"]),
  post("ports", { port: { network_id: "@net" } }, ["somebody else's network", 404, "NetworkNotFound"], OTHER),
  post("ports", { port: { network_id: "@net", fixed_ips: [{ ip_address: "10.0.0.50" }] } }, ["an address that is taken", 409, "IpAddressAlreadyAllocated"]),
  post("ports", { port: { network_id: "@net", fixed_ips: [{ ip_address: "10.0.0.1" }] } }, ["the router's address", 409, "IpAddressAlreadyAllocated"]),
  post("ports", { port: { network_id: "@net", fixed_ips: [{ ip_address: "10.0.0.60" }, { ip_address: "10.0.0.60" }] } }, ["an address twice", 400, BAD]),
  post("ports", { port: { network_id: "@net", fixed_ips: [{ ip_address: "192.0.2.1" }] } }, ["an address of no subnet", 400, "InvalidIpForNetwork"]),
  post("ports", { port: { network_id: "@net", fixed_ips: [{ subnet_id: "@subnet", ip_address: "10.0.1.9" }] } }, ["an address of another subnet", 400, "InvalidIpForSubnet"]),
  post("ports", { port: { network_id: "@net", fixed_ips: [{ subnet_id: "@subnet2" }] } }, ["a subnet of another network", 400, "InvalidInput"]),
  post("ports", { port: { network_id: "@net", fixed_ips: [{ subnet_id: NO_ID }] } }, ["a subnet that is not there", 404, "SubnetNotFound"]),
  post("ports", { port: { network_id: "@net", fixed_ips: [{ subnet_id: "@subnet6", ip_address: "fd00::5" }] } }, ["a chosen address where SLAAC chooses", 400, "AllocationOnAutoAddressSubnet"]),
  ...["10.0.0.50", {}, [{}], ["10.0.0.50"], [[]], 4].map((fixed_ips) => post("ports", { port: { network_id: "@net", fixed_ips } }, [`fixed_ips ${JSON.stringify(fixed_ips)}`, 400, ""])),
  post("ports", { port: { network_id: "@tiny" } }, ["an exhausted pool", 409, "IpAddressGenerationFailure"]),
  post("ports", { port: { network_id: "@net", mac_address: "fa:16:3e:00:00:50" } }, ["a MAC that is taken", 409, "MacAddressInUse"], ADMIN),
  ...["fa:16:3e", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "zz:16:3e:00:00:01", 7].map((mac) =>
    post("ports", { port: { network_id: "@net", mac_address: mac } }, [`MAC ${mac}`, 400, BAD], ADMIN)),
  post("ports", { port: { network_id: "@net", security_groups: [NO_ID] } }, ["a group that is not there", 404, "SecurityGroupNotFound"]),
  post("ports", { port: { network_id: "@net", security_groups: ["@group"], port_security_enabled: false } }, ["groups without port security", 400, "PortSecurityAndIPRequiredForSecurityGroups"]),
  post("ports", { port: { network_id: "@net", allowed_address_pairs: [{ mac_address: "fa:16:3e:00:00:01" }] } }, ["a pair without an address", 400, "AllowedAddressPairsMissingIP"]),
  post("ports", { port: { network_id: "@net", allowed_address_pairs: [{ ip_address: "10.0.0.9" }, { ip_address: "10.0.0.9" }] } }, ["a pair twice", 400, "DuplicateAddressPairInRequest"]),
  post("ports", { port: { network_id: "@net", extra_dhcp_opts: [{ opt_name: "x".repeat(65), opt_value: "1" }] } }, ["a DHCP option with a long name", 400, BAD]),
  put("ports/@port", { port: { network_id: "@other" } }, ["another network", 400, BAD]),
  put("ports/@port", { port: { status: "ACTIVE" } }, ["another status", 400, BAD]),
  put("ports/@port", { port: { fixed_ips: [{ ip_address: "10.0.1.9" }] } }, ["an address of no subnet of it", 400, "InvalidIpForNetwork"]),

  put("routers/@router/add_router_interface", {}, ["an interface on nothing", 400, "BadRequest"]),
  put("routers/@router/add_router_interface", { subnet_id: "@subnet", port_id: "@port" }, ["an interface on two things", 400, "BadRequest"]),
  put("routers/@router/add_router_interface", { subnet_id: NO_ID }, ["an interface on what is not there", 404, "SubnetNotFound"]),
  put("routers/@router/add_router_interface", { subnet_id: "@subnet" }, ["an interface that is there", 400, "BadRequest"]),
  put("routers/@router/remove_router_interface", { subnet_id: "@subnet2" }, ["an interface that is not there", 404, "RouterInterfaceNotFoundForSubnet"]),
  put("routers/@router", { router: { routes: [{ destination: "10.5.0.0/24", nexthop: "192.0.2.1" }] } }, ["a hop out of reach", 400, "InvalidRoutes"]),
  put("routers/@router", { router: { routes: [{ destination: "10.5.0.0/24" }] } }, ["half a route", 400, BAD]),
  put("routers/@router/no_such_action", {}, ["an unknown action", 404, "HTTPNotFound"]),
  ask("DELETE", "routers/@router", ["a router in use", 409, "RouterInUse"]),

  post("security-groups", { security_group: { name: "default" } }, ["a second default group", 409, "SecurityGroupDefaultAlreadyExists"], MEMBER),
  post("security-group-rules", { security_group_rule: { security_group_id: "@group" } }, ["a rule without direction", 400, BAD]),
  post("security-group-rules", { security_group_rule: { security_group_id: NO_ID, direction: "ingress" } }, ["a group that is not there", 404, "SecurityGroupNotFound"]),
  post("security-group-rules", { security_group_rule: { security_group_id: "@group", direction: "up" } }, ["a direction that is none", 400, BAD]),
  post("security-group-rules", { security_group_rule: { security_group_id: "@group", direction: "ingress", protocol: "tcp", port_range_min: 90, port_range_max: 80 } }, ["ports backwards", 400, "SecurityGroupInvalidPortRange"]),
  post("security-group-rules", { security_group_rule: { security_group_id: "@group", direction: "ingress", protocol: "tcp", port_range_min: 80, port_range_max: 65_536 } }, ["port 65536", 400, "SecurityGroupInvalidPortValue"]),
  post("security-group-rules", { security_group_rule: { security_group_id: "@group", direction: "ingress", port_range_min: 80, port_range_max: 80 } }, ["ports of no protocol", 400, "SecurityGroupProtocolRequiredWithPorts"]),
  post("security-group-rules", { security_group_rule: { security_group_id: "@group", direction: "ingress", protocol: "tcpp" } }, ["an unknown protocol", 400, "SecurityGroupRuleInvalidProtocol"]),
  post("security-group-rules", { security_group_rule: { security_group_id: "@group", direction: "ingress", protocol: 256 } }, ["protocol 256", 400, "SecurityGroupRuleInvalidProtocol"]),
  post("security-group-rules", { security_group_rule: { security_group_id: "@group", direction: "ingress", ethertype: "IPX" } }, ["an unknown family", 400, "SecurityGroupRuleInvalidEtherType"]),
  post("security-group-rules", { security_group_rule: { security_group_id: "@group", direction: "ingress", remote_ip_prefix: "10.0.0.0/40" } }, ["a bad remote prefix", 400, "InvalidCIDR"]),
  post("security-group-rules", { security_group_rule: { security_group_id: "@group", direction: "ingress", remote_ip_prefix: "10.0.0.0/8", remote_group_id: "@group" } }, ["two remotes", 400, "SecurityGroupMultipleRemoteEntites"]),
  post("security-group-rules", { security_group_rule: { security_group_id: "@group", direction: "ingress", protocol: "tcp", port_range_min: 80, port_range_max: 80 } }, ["a rule that is there", 409, "SecurityGroupRuleExists"]),
  put("security-group-rules/@rule", { security_group_rule: { protocol: "udp" } }, ["a change of a rule but for its description", 400, BAD]),
];

const requests: readonly Case[] = [
  ask("GET", "nothing", ["an unknown collection", 404, "HTTPNotFound"]),
  ask("GET", "networks/@net/nothing", ["an unknown part", 404, "HTTPNotFound"]),
  ask("GET", "networks/@net/ports/@port", ["a part that is none", 404, "HTTPNotFound"]),
  ask("GET", `networks/${NO_ID}`, ["an unknown id", 404, "NetworkNotFound"]),
  ask("GET", "networks/net", ["a name in place of an id", 404, "NetworkNotFound"]),
  ask("GET", `networks/${"x".repeat(5000)}`, ["an endless id", 404, "NetworkNotFound"]),
  ask("GET", "networks/%00", ["a NUL as id", 404, "NetworkNotFound"]),
  ask("GET", "networks/..%2f..%2fetc%2fpasswd", ["a file as id", 404, "NetworkNotFound"]),
  ask("GET", "networks/__proto__", ["__proto__ as id", 404, "NetworkNotFound"]),
  ask("GET", "__proto__", ["__proto__ as collection", 404, "HTTPNotFound"]),
  ask("GET", "constructor/prototype", ["constructor as collection", 404, "HTTPNotFound"]),
  ask("GET", "networks/%ff%fe", ["an id that is no UTF-8", 400, BAD]),
  ask("GET", "networks/%zz", ["an id that is not encoded", 400, BAD]),
  ask("GET", "networks?nmae=x", ["an unknown filter", 400, BAD]),
  ask("GET", "networks?__proto__=x", ["__proto__ as filter", 400, BAD]),
  ask("GET", "networks?limit=-1", ["a negative limit", 400, "BadRequest"]),
  ask("GET", "networks?limit=many", ["a limit that is no number", 400, "BadRequest"]),
  ask("GET", "networks?sort_key=name", ["a sort key without direction", 400, BAD]),
  ask("GET", "networks?sort_key=nmae&sort_dir=asc", ["an unknown sort key", 400, BAD]),
  ask("GET", "networks?sort_key=name&sort_dir=up", ["an unknown sort direction", 400, BAD]),
  ask("GET", `networks?marker=${NO_ID}`, ["an unknown marker", 404, "NetworkNotFound"]),
  ask("GET", "networks?changed_since=yesterday", ["a time that is none", 400, "InvalidInput"]),
  ask("GET", `networks?name=${"x".repeat(20_000)}`, ["an endless URL", 414, "HTTPRequestURITooLong"]),
  ask("GET", "networks/@net", ["somebody else's network", 404, "NetworkNotFound"], OTHER),
  put("networks/@net", { network: { name: "mine" } }, ["a change of somebody else's network", 404, "NetworkNotFound"], OTHER),
  ask("DELETE", "networks/@net", ["the end of somebody else's network", 404, "NetworkNotFound"], OTHER),
  ask("DELETE", `ports/${NO_ID}`, ["the end of what is not there", 404, "PortNotFound"]),
  ask("PATCH", "networks/@net", ["PATCH", 405, "HTTPMethodNotAllowed"]),
  ask("POST", "networks/@net", ["POST to a member", 405, "HTTPMethodNotAllowed"]),
  ask("OPTIONS", "networks", ["OPTIONS", 405, "HTTPMethodNotAllowed"]),
  ask("PUT", "networks", ["PUT to a collection", 404, "HTTPNotFound"]),
  ask("DELETE", "networks", ["DELETE of a collection", 404, "HTTPNotFound"]),
  ask("POST", "extensions", ["POST to the extensions", 405, "HTTPMethodNotAllowed"]),
  ask("GET", "extensions/no-such", ["an unknown extension", 404, "ExtensionNotFound"]),
  ask("GET", "networks", ["another media type wanted", 406, "HTTPNotAcceptable"], { accept: "text/html" }),
  put("networks/@net", { network: { name: "x" } }, ["an old revision", 412, "RevisionNumberConstraintFailed"], { "if-match": "revision_number=99999" }),
  put("networks/@net", { network: { name: "x" } }, ["a revision that is none", 400, "BadRequest"], { "if-match": "revision_number=x" }),
  ask("GET", "networks", ["an endless project id", 400, BAD], { "x-project-id": "p".repeat(300) }),
  post("networks", { network: {} }, ["a reader's network", 403, "PolicyNotAuthorized"], { "x-project-id": "p1", "x-roles": "reader" }),
  put("networks/@net/tags", { tags: Array.from({ length: 51 }, (_, i) => `t${i}`) }, ["51 tags", 400, "InvalidInput"]),
  put("networks/@net/tags", { tags: "red" }, ["tags that are no list", 400, "InvalidInput"]),
  ask("DELETE", "networks/@net/tags/no-such", ["a tag that is not there", 404, "TagNotFound"]),
];

async function check(one: Case): Promise<void> {
  const answer = await controller.api(one.method, withIds(`/v2.0/${one.path}`), withIds(one.body), { ...ADMIN, ...one.headers });
  const error = (answer.body as { NeutronError?: Record<string, unknown> } | undefined)?.NeutronError;
  expect([answer.status, one.type === "" ? "" : error?.type], `${one.about}: ${answer.text.slice(0, 300)}`).toEqual([one.status, one.type]);
  expect(Object.keys(answer.body as object), one.about).toEqual(["NeutronError"]);
  expect(error, one.about).toEqual({ type: expect.any(String) as string, message: expect.stringMatching(/\S/) as string, detail: expect.any(String) as string });
  expect((error!.message as string).length, `${one.about}: the message`).toBeLessThan(1000);
  expect(answer.headers["content-type"], one.about).toMatch(/^application\/json/);
  expect(answer.headers["x-openstack-request-id"], one.about).toMatch(/^req-/);
}

for (const [title, cases] of [["envelopes", envelope], ["values", values], ["requests", requests]] as const) {
  test(`bad ${title}: ${cases.length} of them, refused as the contract says, nothing changed`, async () => {
    const before = await everything();
    const failures: string[] = [];
    for (const one of cases) await check(one).catch((error: unknown) => failures.push(`${one.method} ${one.path}: ${(error as Error).message}`));
    expect(failures.join("\n\n")).toBe("");
    expect(await everything()).toEqual(before);
    expect(controller.logged(50)).toEqual([]);
  });
}

describe("below HTTP", () => {
  /** Sends bytes, returns all that comes back until the server ends the connection or it has been silent. */
  const raw = (bytes: string | Buffer, silenceMs = 3000): Promise<string> =>
    new Promise((resolve) => {
      let text = "";
      const socket = net.connect(controller.apiPort, "127.0.0.1", () => socket.write(bytes));
      socket.setTimeout(silenceMs, () => socket.destroy());
      socket.on("data", (data: Buffer) => (text += data.toString("latin1"))).on("error", () => undefined);
      socket.on("close", () => resolve(text));
    });

  test.each([
    ["no HTTP at all", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", /^HTTP\/1\.1 400 |^$/],
    ["no host", "GET /v2.0/networks HTTP/1.1\r\n\r\n", /^HTTP\/1\.1 400 /],
    ["a broken header", "GET /v2.0/networks HTTP/1.1\r\nhost: localhost\r\nbad header\r\n\r\n", /^HTTP\/1\.1 400 /],
    ["two lengths", "POST /v2.0/networks HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x", /^HTTP\/1\.1 400 /],
    ["length and chunks", "POST /v2.0/networks HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", /^HTTP\/1\.1 400 /],
    ["a negative length", "POST /v2.0/networks HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n", /^HTTP\/1\.1 400 /],
    ["an announced huge body", "POST /v2.0/networks HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\n{", /^HTTP\/1\.1 413 /],
    ["endless headers", `GET /v2.0/networks HTTP/1.1\r\nhost: localhost\r\nx-long: ${"x".repeat(200_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
    ["an unknown method", "FROB /v2.0/networks HTTP/1.1\r\nhost: localhost\r\n\r\n", /^HTTP\/1\.1 (400|404|405|501) /],
    ["an absolute path of dots", "GET /v2.0/../../etc/passwd HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", /^HTTP\/1\.1 40[04] /],
  ])("%s", async (_about, bytes, answer) => {
    const before = await everything();
    expect(await raw(bytes)).toMatch(answer);
    expect(await everything()).toEqual(before);
  });

  test("a body that never ends holds nobody else up", async () => {
    const socket = net.connect(controller.apiPort, "127.0.0.1");
    socket.on("error", () => undefined).write("POST /v2.0/networks HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{");
    expect((await controller.api("GET", "/v2.0/networks")).status).toBe(200);
    socket.destroy();
  });
});

test("a random body is refused in order or does what it says; it is never a 500", async () => {
  const word = fc.constantFrom("name", "id", "network_id", "subnet_id", "cidr", "ip_version", "fixed_ips", "ip_address", "routes", "destination", "nexthop", "mac_address", "tags",
    "security_groups", "allowed_address_pairs", "binding:profile", "extra_dhcp_opts", "opt_name", "opt_value", "allocation_pools", "start", "end", "project_id", "tenant_id",
    "device_owner", "mtu", "protocol", "port_range_min", "direction", "ethertype", "security_group_id", "remote_group_id", "__proto__", "");
  const leaf = fc.oneof(
    fc.constantFrom<unknown>("@net", "@subnet", "@port", "@router", "@group", "10.0.0.0/24", "10.0.0.50", "fd00::1", "fa:16:3e:00:00:50", "ingress", "tcp", "IPv4", "network:dhcp", null, true, "", NO_ID),
    fc.string(), fc.integer(), fc.double(), fc.string({ unit: "binary" }),
  );
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof({ maxDepth: 4 }, leaf, leaf, fc.array(tie("value"), { maxLength: 3 }), fc.dictionary(word, tie("value"), { maxKeys: 5 })),
  }));
  const singular = fc.constantFrom("network", "subnet", "port", "router", "security_group", "security_group_rule");
  const call = fc.record({
    resource: singular,
    envelope: fc.oneof({ weight: 8, arbitrary: fc.constant("one") }, { weight: 1, arbitrary: fc.constant("many") }, { weight: 1, arbitrary: fc.constant("none") }),
    base: fc.boolean(),
    item: fc.dictionary(word, value, { maxKeys: 5 }),
    member: fc.boolean(),
  });
  const seed = Number(process.env.AXION_SEED ?? Date.now() % 1_000_000);
  const runs = nightly ? 20_000 : 500;
  const statuses = new Map<number, number>();
  await fc.assert(
    fc.asyncProperty(call, async ({ resource, envelope: form, base, item, member }) => {
      const start: Record<string, unknown> = !base ? {} : resource === "subnet" ? { network_id: "@other", ip_version: 4, cidr: "10.77.0.0/24" }
        : resource === "port" ? { network_id: "@other" } : resource === "security_group_rule" ? { security_group_id: "@group", direction: "egress" } : {};
      const collection = `${resource}s`;
      const values = { ...start, ...item };
      const body = form === "one" ? { [resource]: values } : form === "many" ? { [collection]: [values, values] } : values;
      const to = `/v2.0/${collection.replaceAll("_", "-")}${member ? `/${id[namesOf[resource] ?? resource]}` : ""}`;
      const before = await controller.metric("axion_generation");
      const answer = await controller.api(member ? "PUT" : "POST", to, withIds(body), ADMIN);
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      expect(answer.status, answer.text).toBeLessThan(500);
      if (answer.status < 300) {
        // It asked for something that exists; put back what it made.
        const made = answer.body as Record<string, unknown>;
        const rows = member ? [] : form === "many" ? (made[collection] as { id: string }[]) : [made[resource] as { id: string }];
        for (const row of rows) await controller.api("DELETE", `${to}/${row.id}`, undefined, ADMIN);
        return;
      }
      expect(Object.keys((answer.body as { NeutronError: object }).NeutronError)).toEqual(["type", "message", "detail"]);
      expect(await controller.callsAfter(before), `refused with ${answer.text}`).toEqual([]);
    }),
    { seed, numRuns: runs },
  );
  expect(controller.logged(50)).toEqual([]);
  expect((await controller.ops("/readyz")).status).toBe(200);
  console.log(`seed ${seed}, ${runs} bodies: ${JSON.stringify(Object.fromEntries([...statuses].sort(([a], [b]) => a - b)))}`);
}, nightly ? 1_200_000 : 120_000);
