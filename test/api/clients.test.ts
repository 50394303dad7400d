// Debian's openstack client with a real Keystone: every command of an extension that is advertised, as administrator, member and reader of a project, and as another.
// @module-tag long
// Over 400 lines: one Keystone and one controller serve all of it, which take longer to start than most of it takes.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Keystone, keystoneMissing, type User } from "../support/api/keystone.ts";
import { OpenStack } from "../support/api/openstack.ts";
import { ControllerProcess } from "../support/process.ts";

/** What commands begin with of extensions that are not advertised: these are left out. */
const OTHERS: readonly (readonly [prefix: string, alias: string])[] = [["local ip", "local_ip"], ["network qos", "qos"]];

type Shown = Readonly<Record<string, unknown>> & { readonly id: string };

describe.skipIf((await keystoneMissing()).length > 0)("Debian's openstack client", () => {
  let keystone: Keystone;
  let controller: ControllerProcess;
  const clients = new Map<User, OpenStack>();
  beforeAll(async () => {
    keystone = await Keystone.start();
    controller = await ControllerProcess.start({ flags: ["--auth", "keystone", "--keystone-url", keystone.url, "--keystone-user", "neutron", "--keystone-password-file", keystone.passwordFile, "--vlan-ranges", "physnet1:100:109"] });
    await keystone.network(`http://127.0.0.1:${controller.apiPort}`);
    for (const user of ["admin", "demo", "reader", "other"] as const) clients.set(user, new OpenStack(keystone.environment(user)));
  }, 300_000);
  afterAll(async () => {
    await Promise.all([...clients.values()].map((client) => client.stop()));
    await controller?.destroy();
    await keystone?.stop();
  });

  const by = (user: User) => {
    const run = (...argv: string[]) => clients.get(user)!.run(...argv);
    /** What it printed. */
    const ok = async (command: string, ...argv: string[]): Promise<string> => {
      const { code, out, err } = await run(...command.split(" "), ...argv);
      expect(code, `openstack ${command} ${argv.join(" ")}: ${err}`).toBe(0);
      return out;
    };
    const json = async (command: string, ...argv: string[]): Promise<unknown> => JSON.parse(await ok(command, ...argv, "-f", "json")) as unknown;
    return {
      ok,
      show: (command: string, ...argv: string[]) => json(command, ...argv) as Promise<Shown>,
      /** A column of a list, in order of text. */
      list: async (column: string, command: string, ...argv: string[]): Promise<unknown[]> => ((await json(command, ...argv)) as Record<string, unknown>[]).map((row) => row[column]).toSorted(),
      /** What it says of a refusal. */
      refused: async (command: string, ...argv: string[]): Promise<string> => {
        const { code, err } = await run(...command.split(" "), ...argv);
        expect(code, `openstack ${command} ${argv.join(" ")} went through`).not.toBe(0);
        return err;
      },
    };
  };
  const [admin, demo, reader, other] = [by("admin"), by("demo"), by("reader"), by("other")];
  const POLICY = "is disallowed by policy";

  test("networks, subnets and ports", async () => {
    const network = await demo.show("network create", "blue", "--description", "ours", "--mtu", "1400", "--disable-port-security", "--tag", "a", "--tag", "b", "--transparent-vlan");
    expect(network).toMatchObject({ name: "blue", description: "ours", mtu: 1400, port_security_enabled: false, status: "ACTIVE", project_id: keystone.ids.get("project demo"), shared: false, "router:external": false });
    await demo.ok("network set", "blue", "--enable-port-security", "--description", "of all", "--tag", "c", "--disable");
    await demo.ok("network unset", "blue", "--tag", "a");
    expect(await reader.show("network show", "blue")).toMatchObject({ port_security_enabled: true, description: "of all", tags: ["b", "c"], admin_state_up: false });
    await demo.ok("network set", "blue", "--enable");
    expect(await reader.list("Name", "network list", "--tags", "b,c", "--name", "blue", "--enable")).toEqual(["blue"]);
    expect(await other.list("Name", "network list")).toEqual([]);
    for (const mine of [["--external"], ["--provider-network-type", "vxlan"], ["--share"]]) expect(await demo.refused("network create", "more", ...mine)).toContain(POLICY);
    expect(await reader.refused("network set", "blue", "--name", "mine")).toContain(POLICY);
    expect(await reader.refused("network delete", "blue")).toContain(POLICY);
    expect(await other.refused("network show", "blue")).toContain("No Network found for blue");
    await admin.ok("network set", "blue", "--share");
    expect(await other.list("Name", "network list", "--share")).toEqual(["blue"]);
    await admin.ok("network set", "blue", "--no-share");

    const subnet = await demo.show(
      "subnet create", "four", "--network", "blue", "--subnet-range", "10.0.0.0/24", "--gateway", "10.0.0.254", "--allocation-pool", "start=10.0.0.10,end=10.0.0.99", "--dns-nameserver", "192.0.2.53",
      "--host-route", "destination=198.51.100.0/24,gateway=10.0.0.5", "--tag", "s",
    );
    expect(subnet).toMatchObject({ cidr: "10.0.0.0/24", gateway_ip: "10.0.0.254", allocation_pools: [{ start: "10.0.0.10", end: "10.0.0.99" }], dns_nameservers: ["192.0.2.53"], host_routes: [{ destination: "198.51.100.0/24", nexthop: "10.0.0.5" }], tags: ["s"] });
    await demo.ok("subnet set", "four", "--no-dhcp", "--dns-nameserver", "192.0.2.54", "--allocation-pool", "start=10.0.0.100,end=10.0.0.120", "--description", "d");
    await demo.ok("subnet unset", "four", "--host-route", "destination=198.51.100.0/24,gateway=10.0.0.5", "--tag", "s", "--dns-nameserver", "192.0.2.53", "--allocation-pool", "start=10.0.0.10,end=10.0.0.99");
    expect(await reader.show("subnet show", "four")).toMatchObject({ enable_dhcp: false, dns_nameservers: ["192.0.2.54"], host_routes: [], allocation_pools: [{ start: "10.0.0.100", end: "10.0.0.120" }], tags: [], description: "d" });
    for (const mode of ["slaac", "dhcpv6-stateful", "dhcpv6-stateless"]) {
      expect(await demo.show("subnet create", mode, "--network", "blue", "--ip-version", "6", "--subnet-range", `2001:db8:${mode.length}::/64`, "--ipv6-ra-mode", mode, "--ipv6-address-mode", mode)).toMatchObject({ ipv6_ra_mode: mode, ipv6_address_mode: mode });
    }
    expect(await reader.list("Name", "subnet list", "--network", "blue", "--ip-version", "6")).toEqual(["dhcpv6-stateful", "dhcpv6-stateless", "slaac"]);
    await demo.ok("subnet delete", "dhcpv6-stateful", "dhcpv6-stateless");
    expect(await reader.refused("subnet create", "more", "--network", "blue", "--subnet-range", "10.1.0.0/24")).toContain(POLICY);
    expect(await demo.refused("subnet create", "again", "--network", "blue", "--subnet-range", "10.0.0.0/25")).toContain("overlaps with another subnet");

    const port = await demo.show(
      "port create", "one", "--network", "blue", "--fixed-ip", "subnet=four,ip-address=10.0.0.20", "--allowed-address", "ip-address=10.0.0.77", "--extra-dhcp-option", "name=67,value=boot,ip-version=4", "--vnic-type", "normal", "--tag", "t",
      "--description", "d",
    );
    expect(port).toMatchObject({ fixed_ips: expect.arrayContaining([{ subnet_id: subnet.id, ip_address: "10.0.0.20" }]) as unknown, allowed_address_pairs: [{ ip_address: "10.0.0.77", mac_address: port.mac_address }], extra_dhcp_opts: [{ opt_name: "67", opt_value: "boot", ip_version: 4 }], status: "DOWN" });
    await demo.ok("port set", "one", "--no-allowed-address", "--allowed-address", "ip-address=10.0.0.78,mac-address=02:00:00:00:00:01", "--extra-dhcp-option", "name=66,value=server", "--disable", "--name", "first", "--fixed-ip", "subnet=four,ip-address=10.0.0.21");
    await demo.ok("port unset", "first", "--fixed-ip", "subnet=four,ip-address=10.0.0.20", "--tag", "t");
    const after = await reader.show("port show", "first");
    expect(after).toMatchObject({ admin_state_up: false, tags: [], allowed_address_pairs: [{ ip_address: "10.0.0.78", mac_address: "02:00:00:00:00:01" }] });
    expect((after.fixed_ips as { ip_address: string }[]).map((fixed) => fixed.ip_address)).not.toContain("10.0.0.20");
    expect(after.extra_dhcp_opts).toHaveLength(2);
    await demo.ok("port unset", "first", "--allowed-address", "ip-address=10.0.0.78,mac-address=02:00:00:00:00:01", "--security-group", "default");
    expect(await reader.show("port show", "first")).toMatchObject({ security_group_ids: [], allowed_address_pairs: [] });
    await demo.ok("port set", "first", "--no-security-group", "--disable-port-security");
    expect(await reader.list("Name", "port list", "--fixed-ip", "ip-address=10.0.0.21", "--network", "blue", "--mac-address", port.mac_address as string)).toEqual(["first"]);
    for (const not of [["--host", "hv1"], ["--binding-profile", "a=b"]]) expect(await demo.refused("port create", "p", "--network", "blue", ...not)).toContain(POLICY);
    expect(await reader.refused("port create", "p", "--network", "blue")).toContain(POLICY);
    expect(await admin.show("port create", "bound", "--network", "blue", "--host", "hv1", "--device-owner", "compute:nova", "--device", "vm1", "--project", "demo")).toMatchObject({ binding_host_id: "hv1", device_owner: "compute:nova", device_id: "vm1" });
    await demo.ok("network create", "bare", "--tag", "z");
    expect(await demo.show("port create", "none", "--network", "bare", "--no-fixed-ip")).toMatchObject({ fixed_ips: [], device_owner: "" });
    await demo.ok("port delete", "none");
    await demo.ok("network delete", "bare");
    await admin.ok("port unset", "bound", "--host");
    await demo.ok("port delete", "bound");
    expect(await demo.refused("network delete", "blue")).toContain("There are one or more ports still in use on the network");
  }, 120_000);

  test("external networks, routers, floating IPs and what they have", async () => {
    await admin.ok("network create", "outside", "--external", "--provider-network-type", "vxlan", "--provider-segment", "4711");
    await admin.ok("subnet create", "pool", "--network", "outside", "--subnet-range", "203.0.113.0/24", "--no-dhcp");
    expect(await other.list("Name", "network list", "--external")).toEqual(["outside"]);
    expect(await admin.show("network show", "outside")).toMatchObject({ "provider:network_type": "vxlan", "provider:segmentation_id": 4711 });
    await demo.ok("network create", "inside");
    await demo.ok("subnet create", "in", "--network", "inside", "--subnet-range", "10.2.0.0/24");
    const vm = await demo.show("port create", "vm", "--network", "inside", "--fixed-ip", "subnet=in,ip-address=10.2.0.9");

    expect(await demo.show("router create", "r", "--description", "d", "--disable", "--tag", "x")).toMatchObject({ admin_state_up: false, tags: ["x"], external_gateway_info: null });
    await demo.ok("router set", "r", "--external-gateway", "outside", "--enable", "--tag", "y");
    expect(await demo.refused("router set", "r", "--external-gateway", "outside", "--disable-snat")).toContain(POLICY);
    await admin.ok("router set", "r", "--external-gateway", "outside", "--fixed-ip", "ip-address=203.0.113.9", "--disable-snat");
    await admin.ok("router set", "r", "--external-gateway", "outside", "--enable-snat");
    await demo.ok("router add subnet", "r", "in");
    await demo.ok("network create", "far");
    await demo.ok("subnet create", "away", "--network", "far", "--subnet-range", "10.3.0.0/24");
    await demo.ok("port create", "leg", "--network", "far", "--fixed-ip", "ip-address=10.3.0.1");
    await demo.ok("router add port", "r", "leg");
    await demo.ok("router add route", "r", "--route", "destination=198.51.100.0/24,gateway=10.2.0.9");
    await demo.ok("router set", "r", "--route", "destination=192.0.2.0/25,gateway=10.2.0.9");
    const routes = (await reader.show("router show", "r")).routes as { destination: string }[];
    expect(routes.map((route) => route.destination).toSorted()).toEqual(["192.0.2.0/25", "198.51.100.0/24"]);
    await demo.ok("router remove route", "r", "--route", "destination=198.51.100.0/24,gateway=10.2.0.9");
    await demo.ok("router unset", "r", "--route", "destination=192.0.2.0/25,gateway=10.2.0.9", "--tag", "x");
    expect(await reader.show("router show", "r")).toMatchObject({ routes: [], tags: ["y"], interfaces_info: expect.arrayContaining([expect.objectContaining({ ip_address: "10.3.0.1" })]) as unknown });
    expect(await reader.list("Name", "router list", "--tags", "y")).toEqual(["r"]);
    expect(await reader.list("Name", "port list", "--router", "r", "--network", "far")).toEqual(["leg"]);
    expect(await other.list("Name", "router list")).toEqual([]);
    expect(await reader.refused("router add subnet", "r", "in")).toContain(POLICY);
    expect(await demo.refused("router delete", "r")).toContain("still has ports");

    const helper = await demo.show("network l3 conntrack helper create", "r", "--helper", "ftp", "--protocol", "tcp", "--port", "21");
    await demo.ok("network l3 conntrack helper set", "r", helper.id, "--helper", "tftp", "--protocol", "udp", "--port", "69");
    expect(await reader.show("network l3 conntrack helper show", "r", helper.id)).toMatchObject({ helper: "tftp", port: 69, protocol: "udp" });
    expect(await reader.list("Helper", "network l3 conntrack helper list", "r")).toEqual(["tftp"]);
    await demo.ok("network l3 conntrack helper delete", "r", helper.id);

    const floating = await demo.show("floating ip create", "outside", "--description", "d", "--tag", "f");
    const address = floating.floating_ip_address as string;
    await demo.ok("floating ip set", address, "--port", "vm", "--fixed-ip-address", "10.2.0.9", "--tag", "g");
    expect(await reader.show("floating ip show", address)).toMatchObject({ port_id: vm.id, fixed_ip_address: "10.2.0.9" });
    expect(await reader.list("Floating IP Address", "floating ip list", "--port", "vm")).toEqual([address]);
    await demo.ok("floating ip unset", address, "--port", "--tag", "f");
    expect(await reader.show("floating ip show", floating.id)).toMatchObject({ port_id: null, tags: ["g"] });
    expect(await other.refused("floating ip set", address, "--port", "vm")).not.toBe("");
    expect(await demo.refused("floating ip create", "outside", "--floating-ip-address", "203.0.113.77")).toContain(POLICY);
    // The client knows it of Compute alone; the API's own list is /v2.0/floatingip_pools.
    expect(await reader.refused("floating ip pool list")).toContain("only available for Compute");

    const forwarding = await demo.show("floating ip port forwarding create", address, "--internal-ip-address", "10.2.0.9", "--port", "vm", "--internal-protocol-port", "22", "--external-protocol-port", "2222", "--protocol", "tcp", "--description", "ssh");
    expect(forwarding).toMatchObject({ internal_port: 22, external_port: 2222, protocol: "tcp", internal_ip_address: "10.2.0.9" });
    await demo.ok("floating ip port forwarding set", address, forwarding.id, "--external-protocol-port", "2223", "--protocol", "udp");
    expect(await reader.show("floating ip port forwarding show", address, forwarding.id)).toMatchObject({ external_port: 2223, protocol: "udp" });
    expect(await reader.list("External Port", "floating ip port forwarding list", address, "--protocol", "udp")).toEqual([2223]);
    await demo.ok("floating ip port forwarding create", address, "--internal-ip-address", "10.2.0.9", "--port", "vm", "--internal-protocol-port", "80", "--external-protocol-port", "8080", "--protocol", "tcp");
    expect(await demo.refused("floating ip delete", address)).toContain("in use by Port Forwarding");
    const all = (await demo.list("ID", "floating ip port forwarding list", address)) as string[];
    await demo.ok("floating ip port forwarding delete", address, ...all);
    await demo.ok("floating ip delete", address);

    await demo.ok("router remove port", "r", "leg");
    await demo.ok("router remove subnet", "r", "in");
    await demo.ok("router unset", "r", "--external-gateway");
    await demo.ok("router delete", "r");
    await admin.ok("network delete", "outside");
  }, 120_000);

  test("segments, and ranges of their numbers", async () => {
    expect(await admin.list("Minimum ID", "network segment range list")).toEqual([1, 1, 1, 100]);
    expect(await demo.list("ID", "network segment range list")).toEqual([]);
    const range = await admin.show("network segment range create", "more", "--private", "--project", "demo", "--network-type", "vlan", "--physical-network", "physnet1", "--minimum", "200", "--maximum", "209");
    expect(range).toMatchObject({ name: "more", shared: false, default: false, project_id: keystone.ids.get("project demo"), minimum: 200, maximum: 209, available: ["200-209"], used: {} });
    await admin.ok("network segment range set", "more", "--name", "theirs", "--minimum", "200", "--maximum", "204");
    expect(await admin.refused("network segment range create", "again", "--network-type", "vlan", "--physical-network", "physnet1", "--minimum", "204", "--maximum", "300")).toContain("overlaps");
    expect(await demo.refused("network segment range create", "mine", "--network-type", "vxlan", "--minimum", "1", "--maximum", "9")).toContain(POLICY);

    await admin.ok("network create", "wide", "--project", "demo", "--provider-network-type", "vlan", "--provider-physical-network", "physnet1");
    expect(await admin.show("network segment range show", "theirs")).toMatchObject({ available: ["201-204"], used: { [keystone.ids.get("project demo")!]: ["200"] } });
    expect(await admin.refused("network segment range delete", "theirs")).toContain("is referenced by");
    expect(await admin.list("Segment", "network segment list", "--network", "wide")).toEqual([200]);
    const segment = await admin.show("network segment create", "tunnels", "--network", "wide", "--network-type", "geneve", "--segment", "77", "--description", "d");
    expect(segment).toMatchObject({ name: "tunnels", network_type: "geneve", segmentation_id: 77, description: "d", physical_network: null });
    await admin.ok("network segment set", "tunnels", "--name", "way", "--description", "e");
    expect(await admin.show("network segment show", "way")).toMatchObject({ id: segment.id, description: "e" });
    expect(await admin.list("Network Type", "network segment list", "--long", "--network", "wide")).toEqual(["geneve", "vlan"]);
    expect(await demo.list("ID", "network segment list")).toEqual([]);
    expect(await demo.refused("network segment delete", segment.id)).not.toBe("");
    await admin.ok("network segment delete", "way");
    await admin.ok("network delete", "wide");
    await admin.ok("network segment range delete", "theirs");
  }, 120_000);

  test("address scopes, subnet pools, and what is shared of them", async () => {
    const scope = await admin.show("address scope create", "ours", "--project", "demo");
    expect(scope).toMatchObject({ name: "ours", ip_version: 4, shared: false });
    await admin.ok("address scope set", "ours", "--name", "known");
    expect(await demo.show("address scope show", "known")).toMatchObject({ id: scope.id });
    expect(await demo.list("Name", "address scope list")).toEqual(["known"]);
    expect(await other.list("Name", "address scope list")).toEqual([]);

    const pool = await demo.show("subnet pool create", "office", "--pool-prefix", "10.64.0.0/16", "--default-prefix-length", "26", "--address-scope", "known", "--tag", "a");
    expect(pool).toMatchObject({ prefixes: ["10.64.0.0/16"], default_prefixlen: 26, address_scope_id: scope.id, tags: ["a"] });
    await demo.ok("subnet pool set", "office", "--pool-prefix", "10.65.0.0/16", "--default-prefix-length", "28", "--description", "d", "--tag", "b");
    await demo.ok("subnet pool unset", "office", "--tag", "a");
    expect(await reader.show("subnet pool show", "office")).toMatchObject({ prefixes: ["10.64.0.0/15"], default_prefixlen: 28, description: "d", tags: ["b"] });
    expect(await reader.list("Name", "subnet pool list", "--address-scope", scope.id)).toEqual(["office"]);
    expect(await reader.refused("subnet pool create", "mine", "--pool-prefix", "10.0.0.0/8")).toContain(POLICY);
    await demo.ok("network create", "pooled");
    expect(await demo.show("subnet create", "drawn", "--network", "pooled", "--subnet-pool", "office")).toMatchObject({ cidr: "10.64.0.0/28", subnetpool_id: pool.id });
    expect(await demo.refused("subnet pool delete", "office")).not.toBe("");

    const shared = await demo.show("network rbac create", "pooled", "--type", "network", "--action", "access_as_shared", "--target-project", keystone.ids.get("project other")!);
    expect(shared).toMatchObject({ object_type: "network", action: "access_as_shared", target_project_id: keystone.ids.get("project other") });
    expect(await other.list("Name", "network list", "--name", "pooled")).toEqual(["pooled"]);
    expect(await demo.list("Object Type", "network rbac list", "--type", "network")).toContain("network");
    expect(await demo.show("network rbac show", shared.id)).toMatchObject({ id: shared.id });
    expect(await admin.ok("network rbac set", shared.id, "--target-project", keystone.ids.get("project admin")!)).toBe("");
    expect(await other.list("Name", "network list", "--name", "pooled")).toEqual([]);
    await demo.ok("network rbac delete", shared.id);

    expect(await admin.list("Network Name", "ip availability list", "--ip-version", "4")).toContain("pooled");
    expect(await admin.show("ip availability show", "pooled")).toMatchObject({ network_name: "pooled", used_ips: 0, total_ips: 13 });
    await demo.ok("subnet delete", "drawn");
    await demo.ok("network delete", "pooled");
    await demo.ok("subnet pool delete", "office");
    await admin.ok("address scope delete", "known");
  }, 120_000);

  test("trunks and their sub-ports", async () => {
    await demo.ok("network create", "trunked");
    for (const name of ["parent", "tagged"]) await demo.ok("port create", name, "--network", "trunked");
    await demo.ok("network trunk create", "t", "--parent-port", "parent");
    await demo.ok("network trunk set", "t", "--description", "d", "--subport", "port=tagged,segmentation-type=vlan,segmentation-id=100");
    expect(await reader.show("network trunk show", "t")).toMatchObject({ description: "d", status: "DOWN", sub_ports: [expect.objectContaining({ segmentation_id: 100 })] });
    expect((await reader.show("port show", "parent")).trunk_details).toMatchObject({ sub_ports: [expect.objectContaining({ segmentation_id: 100 })] });
    expect(await reader.list("Segmentation ID", "network subport list", "--trunk", "t")).toEqual([100]);
    expect(await other.list("Name", "network trunk list")).toEqual([]);
    await demo.ok("network trunk unset", "t", "--subport", "tagged");
    await demo.ok("network trunk delete", "t");
    await demo.ok("port delete", "parent", "tagged");
    await demo.ok("network delete", "trunked");
  }, 120_000);

  test("QoS policies, rules and types", async () => {
    const policy = await admin.show("network qos policy create", "gold", "--project", "demo", "--description", "d", "--default");
    expect(policy).toMatchObject({ name: "gold", description: "d", is_default: true, shared: false, rules: [], project_id: keystone.ids.get("project demo") });
    const limit = await admin.show("network qos rule create", "gold", "--type", "bandwidth-limit", "--max-kbps", "1000", "--max-burst-kbits", "900", "--ingress");
    expect(limit).toMatchObject({ max_kbps: 1000, max_burst_kbps: 900, direction: "ingress" });
    const mark = await admin.show("network qos rule create", "gold", "--type", "dscp-marking", "--dscp-mark", "26");
    const least = await admin.show("network qos rule create", "gold", "--type", "minimum-bandwidth", "--min-kbps", "100", "--egress");
    await admin.ok("network qos rule set", "gold", limit.id, "--max-kbps", "2000");
    expect(await admin.show("network qos rule show", "gold", limit.id)).toMatchObject({ max_kbps: 2000 });
    expect(await reader.list("Type", "network qos rule list", "gold")).toEqual(["bandwidth_limit", "dscp_marking", "minimum_bandwidth"]);
    await admin.ok("network qos rule delete", "gold", least.id);
    expect(await reader.show("network qos policy show", "gold")).toMatchObject({ id: policy.id });
    expect(await demo.refused("network qos policy create", "mine")).toContain(POLICY);
    expect(await demo.refused("network qos rule create", "gold", "--type", "dscp-marking", "--dscp-mark", "26")).toContain(POLICY);
    expect(await other.list("Name", "network qos policy list")).toEqual([]);
    await admin.ok("network qos policy set", "gold", "--share", "--no-default", "--name", "silver");
    expect(await other.list("Name", "network qos policy list", "--share")).toEqual(["silver"]);
    await demo.ok("network create", "limited", "--qos-policy", "silver");
    expect(await demo.show("port create", "slow", "--network", "limited", "--qos-policy", "silver")).toMatchObject({ qos_policy_id: policy.id, qos_network_policy_id: policy.id });
    await demo.ok("port unset", "slow", "--qos-policy");
    expect(await demo.show("port show", "slow")).toMatchObject({ qos_policy_id: null, qos_network_policy_id: policy.id });
    expect(await admin.refused("network qos policy delete", "silver")).not.toBe("");
    await demo.ok("network set", "limited", "--no-qos-policy");
    await demo.ok("port delete", "slow");
    await demo.ok("network delete", "limited");
    await admin.ok("network create", "wan", "--external");
    await admin.ok("subnet create", "wan4", "--network", "wan", "--subnet-range", "198.51.100.0/24");
    const floating = await demo.show("floating ip create", "wan", "--qos-policy", "silver");
    expect(floating).toMatchObject({ qos_policy_id: policy.id });
    await demo.ok("floating ip unset", floating.id, "--qos-policy");
    expect(await demo.show("floating ip show", floating.id)).toMatchObject({ qos_policy_id: null });
    for (const said of [["--qos-policy", "silver"], ["--no-qos-policy"], ["--qos-policy", "silver"]]) await demo.ok("floating ip set", floating.id, ...said);
    await demo.ok("router create", "way");
    await demo.ok("router set", "way", "--external-gateway", "wan", "--qos-policy", "silver");
    expect((await demo.show("router show", "way")).external_gateway_info).toMatchObject({ qos_policy_id: policy.id });
    expect(await admin.refused("network qos policy delete", "silver")).not.toBe("");
    await demo.ok("router unset", "way", "--qos-policy");
    expect((await demo.show("router show", "way")).external_gateway_info).toMatchObject({ qos_policy_id: null });
    for (const said of [["--qos-policy", "silver"], ["--no-qos-policy"]]) await demo.ok("router set", "way", ...said);
    await demo.ok("floating ip delete", floating.id);
    await demo.ok("router delete", "way");
    await admin.ok("network delete", "wan");
    await admin.ok("network qos policy set", "silver", "--no-share");
    await admin.ok("network qos rule delete", "silver", mark.id);
    await admin.ok("network qos policy delete", "silver");
    expect(await reader.list("Type", "network qos rule type list")).toEqual(["bandwidth_limit", "dscp_marking", "packet_rate_limit"]);
    expect(await admin.show("network qos rule type show", "bandwidth_limit")).toMatchObject({ rule_type_name: "bandwidth_limit" });
  }, 120_000);

  test("flavors, providers, agents, and topologies that are made of themselves", async () => {
    const profile = await admin.show("network flavor profile create", "--description", "d", "--driver", "axion");
    await admin.ok("network flavor profile set", profile.id, "--description", "e");
    expect(await admin.show("network flavor profile show", profile.id)).toMatchObject({ description: "e", driver: "axion", enabled: true });
    const flavor = await admin.show("network flavor create", "fast", "--service-type", "L3_ROUTER_NAT", "--description", "d");
    await admin.ok("network flavor add profile", "fast", profile.id);
    await admin.ok("network flavor set", "fast", "--name", "faster", "--disable");
    expect(await demo.show("network flavor show", "faster")).toMatchObject({ id: flavor.id, enabled: false });
    expect(await demo.list("Name", "network flavor list")).toEqual(["faster"]);
    expect(await admin.list("ID", "network flavor profile list")).toEqual([profile.id]);
    expect(await demo.refused("network flavor create", "mine", "--service-type", "L3_ROUTER_NAT")).toContain(POLICY);
    await admin.ok("network flavor remove profile", "faster", profile.id);
    await admin.ok("network flavor delete", "faster");
    await admin.ok("network flavor profile delete", profile.id);
    expect(await demo.list("Service Type", "network service provider list")).toContain("L3_ROUTER_NAT");

    // Hosts are agents, and none is here.
    expect(await admin.list("ID", "network agent list")).toEqual([]);
    const nobody = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";
    for (const command of ["show", "set", "delete"]) expect(await admin.refused(`network agent ${command}`, nobody)).not.toBe("");
    for (const [verb, what] of [["add", "network"], ["add", "router"], ["remove", "network"], ["remove", "router"]] as const) expect(await admin.refused(`network agent ${verb} ${what}`, nobody, nobody)).not.toBe("");

    await admin.ok("network create", "world", "--external", "--default", "--provider-network-type", "vxlan", "--provider-segment", "4712");
    await admin.ok("subnet create", "abroad", "--network", "world", "--subnet-range", "192.0.2.0/24");
    await admin.ok("subnet pool create", "all", "--pool-prefix", "10.96.0.0/12", "--default-prefix-length", "26", "--default", "--share");
    const made = await demo.show("network auto allocated topology create", "--or-show");
    expect(made).toMatchObject({ project_id: keystone.ids.get("project demo") });
    expect(await demo.list("ID", "network list", "--name", "auto_allocated_network")).toEqual([made.id]);
    await demo.ok("network auto allocated topology delete");
    await admin.ok("network delete", "world");
    await admin.ok("subnet pool delete", "all");
  }, 120_000);

  test("metering labels", async () => {
    const label = await admin.show("network meter create", "bill", "--project", "demo", "--description", "d");
    expect(label).toMatchObject({ name: "bill", description: "d", shared: false, project_id: keystone.ids.get("project demo") });
    expect(await reader.show("network meter show", "bill")).toMatchObject({ id: label.id });
    expect(await reader.list("Name", "network meter list")).toEqual(["bill"]);
    expect(await other.list("Name", "network meter list")).toEqual([]);
    const rule = await admin.show("network meter rule create", "bill", "--project", "demo", "--egress", "--remote-ip-prefix", "10.0.0.0/24");
    expect(await reader.show("network meter rule show", rule.id)).toMatchObject({ direction: "egress", remote_ip_prefix: "10.0.0.0/24", metering_label_id: label.id });
    expect(await reader.list("ID", "network meter rule list")).toEqual([rule.id]);
    expect(await demo.refused("network meter rule delete", rule.id)).toContain(POLICY);
    await admin.ok("network meter rule delete", rule.id);
    await admin.ok("network meter delete", "bill");
  }, 120_000);

  test("logs of security groups", async () => {
    expect(await admin.list("Supported types", "network loggable resources list")).toEqual(["security_group"]);
    const group = await demo.show("security group create", "logged");
    const log = await admin.show("network log create", "l", "--resource-type", "security_group", "--resource", "logged", "--event", "DROP", "--project", "demo", "--description", "d");
    expect(log).toMatchObject({ Name: "l", Type: "security_group", Resource: group.id, Event: "DROP", Enabled: true, Description: "d", Project: keystone.ids.get("project demo") });
    await admin.ok("network log set", "l", "--disable", "--name", "m");
    expect(await admin.show("network log show", "m")).toMatchObject({ ID: log.ID, Enabled: false });
    expect(await admin.list("Name", "network log list")).toEqual(["m"]);
    expect(await demo.refused("network log create", "mine", "--resource-type", "security_group")).toContain(POLICY);
    expect(await admin.refused("network log create", "x", "--resource-type", "firewall")).toContain("Invalid log resource_type");
    await admin.ok("network log delete", "m");
    await demo.ok("security group delete", "logged");
  }, 120_000);

  test("local IPs", async () => {
    await demo.ok("network create", "cached");
    await demo.ok("subnet create", "cached4", "--network", "cached", "--subnet-range", "10.77.0.0/24");
    const port = await demo.show("port create", "cache", "--network", "cached");
    const local = await demo.show("local ip create", "--name", "l", "--network", "cached", "--local-ip-address", "10.77.0.99", "--ip-mode", "translate");
    expect(local).toMatchObject({ name: "l", local_ip_address: "10.77.0.99", ip_mode: "translate" });
    expect(await demo.show("local ip association create", "l", port.id)).toMatchObject({ local_ip_address: "10.77.0.99", fixed_port_id: port.id });
    expect(await demo.list("Fixed port ID", "local ip association list", "l")).toEqual([port.id]);
    expect(await demo.refused("local ip delete", "l")).not.toBe("");
    await demo.ok("local ip set", "l", "--name", "m");
    expect(await demo.show("local ip show", "m")).toMatchObject({ id: local.id });
    expect(await other.list("ID", "local ip list")).toEqual([]);
    await demo.ok("local ip association delete", "m", port.id);
    await demo.ok("local ip delete", "m");
    await demo.ok("port delete", "cache");
    await demo.ok("network delete", "cached");
  }, 120_000);

  test("security groups and address groups", async () => {
    const group = await demo.show("security group create", "web", "--description", "d", "--stateless", "--tag", "x");
    expect(group).toMatchObject({ name: "web", stateful: false });
    await demo.ok("security group set", "web", "--name", "www", "--stateful", "--tag", "y");
    await demo.ok("security group unset", "www", "--tag", "x");
    expect(await reader.show("security group show", "www")).toMatchObject({ stateful: true, tags: ["y"] });
    expect(await reader.list("Name", "security group list", "--project", keystone.ids.get("project demo")!)).toEqual(["default", "www"]);
    expect(await reader.refused("security group create", "more")).toContain(POLICY);
    expect(await demo.refused("security group delete", "default")).not.toBe("");

    const addresses = await demo.show("address group create", "hosts", "--address", "192.0.2.1", "--address", "198.51.100.0/24");
    await demo.ok("address group set", "hosts", "--address", "192.0.2.9", "--description", "d");
    await demo.ok("address group unset", "hosts", "--address", "198.51.100.0/24");
    expect(await reader.show("address group show", "hosts")).toMatchObject({ addresses: ["192.0.2.1/32", "192.0.2.9/32"], description: "d" });
    expect(await reader.list("Name", "address group list")).toEqual(["hosts"]);
    expect(await other.list("Name", "address group list")).toEqual([]);

    const rule = await demo.show("security group rule create", "www", "--dst-port", "80:443", "--protocol", "tcp", "--remote-ip", "192.0.2.0/24", "--description", "http");
    expect(rule).toMatchObject({ port_range_min: 80, port_range_max: 443, protocol: "tcp", remote_ip_prefix: "192.0.2.0/24", direction: "ingress", ether_type: "IPv4" });
    expect(await demo.show("security group rule create", "www", "--remote-group", "www", "--egress", "--ethertype", "IPv6")).toMatchObject({ remote_group_id: group.id, direction: "egress", ether_type: "IPv6" });
    expect(await demo.show("security group rule create", "www", "--remote-address-group", "hosts", "--protocol", "icmp", "--icmp-type", "8", "--icmp-code", "0")).toMatchObject({ remote_address_group_id: addresses.id, port_range_min: 8, port_range_max: 0 });
    expect(await reader.show("security group rule show", rule.id)).toMatchObject({ id: rule.id, protocol: "tcp" });
    expect(await reader.list("IP Protocol", "security group rule list", "www", "--ingress")).toEqual(["icmp", "tcp"]);
    expect(await other.refused("security group rule show", rule.id)).toContain("No SecurityGroupRule found");
    expect(await demo.refused("security group rule create", "www", "--dst-port", "80:443", "--protocol", "tcp", "--remote-ip", "192.0.2.0/24")).toContain("already exists");
    expect(await demo.refused("address group delete", "hosts")).toContain("in use");
    await demo.ok("security group rule delete", rule.id);
    await demo.ok("security group delete", "www");
    await demo.ok("address group delete", "hosts");
  }, 120_000);

  test("extensions; and no command of those that are advertised was left out", async () => {
    const advertised = new Set((await reader.list("Alias", "extension list", "--network")) as string[]);
    expect(await reader.show("extension show", "router")).toMatchObject({ alias: "router" });
    for (const name of ["blue", "inside", "far"]) {
      for (const port of await demo.list("ID", "port list", "--network", name)) await demo.ok("port delete", port as string);
    }
    await demo.ok("subnet delete", "four");
    await demo.ok("network delete", "blue", "inside", "far");
    const groups = JSON.parse(await reader.ok("command list", "--group", "openstack.network.v2", "-f", "json")) as { Commands: string | string[] }[];
    const commands = groups.flatMap(({ Commands: names }) => (Array.isArray(names) ? names : names.split("\n")));
    expect(commands.length).toBeGreaterThan(100);
    const ran = [...clients.values()].flatMap((client) => client.ran);
    const missed = commands.filter((command) => !ran.some((one) => `${one} `.startsWith(`${command} `)) && !OTHERS.some(([prefix, alias]) => command.startsWith(`${prefix} `) && !advertised.has(alias)));
    expect(missed).toEqual([]);
  }, 120_000);
});
