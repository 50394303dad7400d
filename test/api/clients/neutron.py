"""Makes, reads, changes and deletes one of each resource with Debian's neutronclient, as the user of the environment (an administrator).

Prints the names of the resources that it made, as a list of JSON. What the library has no method for goes through its own request methods.
"""
import json
import os

from keystoneauth1 import loading, session
from neutronclient.common import exceptions
from neutronclient.v2_0 import client

auth = loading.get_plugin_loader("password").load_from_options(
    auth_url=os.environ["OS_AUTH_URL"], username=os.environ["OS_USERNAME"], password=os.environ["OS_PASSWORD"], project_name=os.environ["OS_PROJECT_NAME"],
    user_domain_id="default", project_domain_id="default",
)
neutron = client.Client(session=session.Session(auth=auth), region_name=os.environ["OS_REGION_NAME"])
made = []


class Part:
    """One that was made, and how its like are shown, changed and deleted."""

    def __init__(self, name, collection, row, parent, path, child_first):
        self.name, self.collection, self.row, self.parent, self.path, self.child_first = name, collection, row, parent, path, child_first
        self.id = row["id"]

    def call(self, verb, *args):
        method = getattr(neutron, f"{verb}_{self.name}", None)
        if method is not None:
            ids = [self.id] if self.parent is None else [self.id, self.parent] if self.child_first else [self.parent, self.id]
            return method(*ids, *args)
        where = f"/{self.path}/{self.id}"
        return {"show": neutron.get, "update": neutron.put, "delete": neutron.delete}[verb](where, **({"body": args[0]} if args else {}))

    def show(self):
        return self.call("show")[self.name]

    def update(self, **values):
        after = self.call("update", {self.name: values})[self.name]
        for key, value in values.items():
            assert after[key] == value, (self.name, key, value, after[key])
        assert self.show() == after, (after, self.show())
        return after

    def delete(self):
        self.call("delete")
        try:
            self.show()
        except (exceptions.NotFound, exceptions.NeutronClientException) as error:
            assert error.status_code == 404, error
        else:
            raise AssertionError(f"{self.name} is still there")


def make(name, /, collection=None, parent=None, under=None, child_first=False, **values):
    """Creates one, and finds it alone and in the list. The library names some by their own id before their parent's."""
    collection = collection or f"{name}s"
    path = "/".join(part for part in (under, parent, collection) if part is not None)
    body = {name: values}
    method = getattr(neutron, f"create_{name}", None)
    if method is None:
        row = neutron.post(f"/{path}", body=body)[name]
    else:
        row = (method(body) if parent is None else method(parent, body))[name]
    part = Part(name, collection, row, parent, path, child_first)
    assert part.show() == row, (row, part.show())
    lister = getattr(neutron, f"list_{collection}", None)
    listed = (lister() if parent is None else lister(parent)) if lister is not None else neutron.get(f"/{path}")
    assert [r for r in listed[collection] if r["id"] == part.id] == [row], (name, listed)
    made.append(name)
    return part


network = make("network", name="blue", description="d")
network.update(name="green", admin_state_up=False)
network.update(admin_state_up=True)
neutron.add_tag("networks", network.id, "red")
neutron.replace_tag("networks", network.id, {"tags": ["a", "b"]})
neutron.remove_tag("networks", network.id, "a")
assert network.show()["tags"] == ["b"]
assert [n["id"] for n in neutron.list_networks(tags="b")["networks"]] == [network.id]
neutron.remove_tag_all("networks", network.id)
outside = make("network", name="outside", **{"router:external": True})

subnet = make("subnet", network_id=network.id, ip_version=4, cidr="10.0.0.0/24", dns_nameservers=["192.0.2.53"])
subnet.update(enable_dhcp=False, dns_nameservers=["192.0.2.54"])
six = make("subnet", network_id=network.id, ip_version=6, cidr="2001:db8:1::/64")
outer = [make("subnet", network_id=outside.id, ip_version=v, cidr=c) for v, c in ((4, "203.0.113.0/24"), (6, "2001:db8:f::/64"))]

scope = make("address_scope", name="s", ip_version=4)
scope.update(name="t")
scope.delete()
pool = make("subnetpool", name="p", prefixes=["10.64.0.0/16"], default_prefixlen=26)
pool.update(name="q", default_prefixlen=27)
pooled = make("subnet", network_id=make("network", name="pooled").id, ip_version=4, subnetpool_id=pool.id)
assert pooled.row["cidr"] == "10.64.0.0/27"

private = make("network", name="private", pvlan=True)
apart = make("port", network_id=private.id, pvlan_type="community", pvlan_community="blue")
apart.update(pvlan_type="isolated")
assert apart.show()["pvlan_community"] is None
for part in (apart, private):
    part.delete()

policy = make("policy", "policies", under="qos", name="gold")
policy.update(name="silver", description="d")
bandwidth = make("bandwidth_limit_rule", parent=policy.id, under="qos/policies", child_first=True, max_kbps=1000)
bandwidth.update(max_kbps=2000, direction="ingress")
packets = make("packet_rate_limit_rule", parent=policy.id, under="qos/policies", child_first=True, max_kpps=5)
packets.update(max_kpps=6)
marking = make("dscp_marking_rule", parent=policy.id, under="qos/policies", child_first=True, dscp_mark=26)
marking.update(dscp_mark=46)
minimum = make("minimum_bandwidth_rule", parent=policy.id, under="qos/policies", child_first=True, min_kbps=10)
minimum.update(min_kbps=20)
assert sorted(t["type"] for t in neutron.list_qos_rule_types()["rule_types"]) == ["bandwidth_limit", "dscp_marking", "packet_rate_limit"]
for part in (minimum, marking, packets, bandwidth, policy):
    part.delete()

addresses = make("address_group", name="a", addresses=["192.0.2.0/24"])
addresses.update(name="b")
group = make("security_group", name="g")
group.update(description="x")
rule = make("security_group_rule", security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=80, port_range_max=80, remote_ip_prefix="198.51.100.0/24")
default = make("default_security_group_rule", used_in_default_sg=True, used_in_non_default_sg=False, direction="ingress", protocol="udp", port_range_min=53, port_range_max=53, remote_ip_prefix="198.51.100.0/24")
stateful = make("security_groups_default_statefulness", "security_groups_default_statefulness", stateful=True)
stateful.update(stateful=False)
stateful.delete()
rbac = make("rbac_policy", "rbac_policies", object_type="security_group", object_id=group.id, action="access_as_shared", target_tenant="somebody")
rbac.update(target_tenant="another")

port = make("port", network_id=network.id, name="vm", security_groups=[group.id])
port.update(name="vm2", allowed_address_pairs=[{"ip_address": "10.0.0.77", "mac_address": port.row["mac_address"]}])
try:
    neutron.create_port({"port": {"network_id": network.id, "mac_address": port.row["mac_address"]}})
except exceptions.MacAddressInUseClient:
    pass
else:
    raise AssertionError("a MAC twice")
# Page by page.
assert neutron.list_subnets(limit=2, sort_key="id", sort_dir="asc")["subnets"] == neutron.list_subnets(sort_key="id", sort_dir="asc")["subnets"]

parent, sub = (make("port", network_id=network.id) for _ in range(2))
trunk = make("trunk", port_id=parent.id, name="t")
trunk.update(name="u")
tagged = {"port_id": sub.id, "segmentation_type": "vlan", "segmentation_id": 100}
assert neutron.trunk_add_subports(trunk.id, {"sub_ports": [tagged]})["sub_ports"] == [tagged]
assert neutron.trunk_get_subports(trunk.id)["sub_ports"] == [tagged]
assert [s["port_id"] for s in parent.show()["trunk_details"]["sub_ports"]] == [sub.id]
assert neutron.trunk_remove_subports(trunk.id, {"sub_ports": [{"port_id": sub.id}]})["sub_ports"] == []
for part in (trunk, sub, parent):
    part.delete()

router = make("router", name="r", enable_ndp_proxy=False)
neutron.add_gateway_router(router.id, {"network_id": outside.id})
for s in (subnet, six):
    neutron.add_interface_router(router.id, {"subnet_id": s.id})
neutron.add_extra_routes_to_router(router.id, {"router": {"routes": [{"destination": "198.51.100.0/24", "nexthop": "10.0.0.9"}]}})
neutron.remove_extra_routes_from_router(router.id, {"router": {"routes": [{"destination": "198.51.100.0/24", "nexthop": "10.0.0.9"}]}})
router.update(name="s", enable_ndp_proxy=True)
four = next(f["ip_address"] for f in port.show()["fixed_ips"] if "." in f["ip_address"])
floating = make("floatingip", floating_network_id=outside.id, port_id=port.id, fixed_ip_address=four)
slow = make("policy", "policies", under="qos", name="slow")
floating.update(qos_policy_id=slow.id)
assert floating.show()["port_id"] == port.id
neutron.add_gateway_router(router.id, {"network_id": outside.id, "qos_policy_id": slow.id})
assert router.show()["external_gateway_info"]["qos_policy_id"] == slow.id
neutron.add_gateway_router(router.id, {"network_id": outside.id, "qos_policy_id": None})
floating.update(qos_policy_id=None)
slow.delete()
floating.update(port_id=None)
forwarding = make("port_forwarding", parent=floating.id, under="floatingips", internal_port_id=port.id, internal_ip_address=four, protocol="tcp", internal_port=80, external_port=8080)
forwarding.update(external_port=8081)
local = make("local_ip", network_id=network.id, local_ip_address="10.0.0.77")
local.update(name="m", description="e")
associations = f"/local_ips/{local.id}/port_associations"
fixed = next(f["ip_address"] for f in port.show()["fixed_ips"] if "." in f["ip_address"])
association = neutron.post(associations, body={"port_association": {"fixed_port_id": port.id, "fixed_ip": fixed}})["port_association"]
assert neutron.get(associations) == {"port_associations": [association]} and neutron.get(f"{associations}/{port.id}") == {"port_association": association}
neutron.delete(f"{associations}/{port.id}")
made.append("port_association")
local.delete()
log = make("log", under="log", resource_type="security_group", event="DROP", description="d")
log.update(name="m", enabled=False)
log.delete()
label = make("metering_label", under="metering", name="bill", description="d")
meter = make("metering_label_rule", under="metering", metering_label_id=label.id, direction="egress", remote_ip_prefix="10.0.0.0/24")
for part in (meter, label):
    part.delete()
tap = make("tap_service", under="taas", name="t", port_id=port.id)
tap.update(name="u", description="d")
ear = make("port", network_id=network.id)
copies = make("tap_flow", under="taas", tap_service_id=tap.id, source_port=ear.id, direction="BOTH", vlan_filter="10,20-30")
copies.update(name="f")
mirror = make("tap_mirror", under="taas", port_id=ear.id, remote_ip="198.51.100.7", mirror_type="erspanv1", directions={"IN": 1, "OUT": 2})
mirror.update(name="m")
for part in (mirror, copies, tap, ear):
    part.delete()
helper = make("conntrack_helper", parent=router.id, under="routers", protocol="tcp", port=21, helper="ftp")
helper.update(protocol="udp", port=69, helper="tftp")
proxy = make("ndp_proxy", "ndp_proxies", router_id=router.id, port_id=port.id)
proxy.update(name="n")

numbers = make("network_segment_range", name="n", network_type="vxlan", minimum=9001, maximum=9003, shared=False, project_id="somebody")
assert numbers.row["available"] == [9001, 9002, 9003], numbers.row
numbers.update(name="m", maximum=9002)
numbers.delete()

assert [p["network_type"] for p in neutron.get("/segments", params={"network_id": network.id})["segments"]] == ["geneve"]
way = make("segment", network_id=network.id, network_type="vlan", physical_network="physnet1", segmentation_id=100, name="v")
way.update(name="w", description="d")
way.delete()

profile = make("service_profile", description="d", driver="axion")
flavor = make("flavor", name="f", service_type="L3_ROUTER_NAT")
neutron.associate_flavor(flavor.id, {"service_profile": {"id": profile.id}})
assert flavor.show()["service_profiles"] == [profile.id]
neutron.disassociate_flavor(flavor.id, profile.id)
flavor.update(name="g")
profile.update(description="e")
for part in (flavor, profile):
    part.delete()

project = router.row["project_id"]
assert neutron.update_quota(project, {"quota": {"network": 77}})["quota"]["network"] == 77
assert neutron.show_quota(project)["quota"]["network"] == 77
assert neutron.show_quota_details(project)["quota"]["network"]["limit"] == 77
assert [q["project_id"] for q in neutron.list_quotas()["quotas"]] == [project]
neutron.delete_quota(project)
assert neutron.show_quota(project)["quota"] == neutron.show_quota_default(project)["quota"]
extensions = [e["alias"] for e in neutron.list_extensions()["extensions"]]
assert all(neutron.show_extension(alias)["extension"]["alias"] == alias for alias in extensions)
for listed in (neutron.list_agents, neutron.list_availability_zones, neutron.list_service_providers, neutron.list_network_ip_availabilities):
    assert isinstance(next(iter(listed().values())), list)
assert neutron.show_network_ip_availability(network.id)["network_ip_availability"]["used_ips"] > 0

for part in (proxy, helper, forwarding, floating):
    part.delete()
for s in (subnet, six):
    neutron.remove_interface_router(router.id, {"subnet_id": s.id})
neutron.remove_gateway_router(router.id)
for part in (router, port, rbac, default, rule, group, addresses, pooled, pool, subnet, six, *outer, network, outside):
    part.delete()
print(json.dumps(made))
