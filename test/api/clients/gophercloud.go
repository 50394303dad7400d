// Makes, reads, changes and deletes networks, subnets, ports, routers, security groups and floating IPs with gophercloud, as the user of the environment
// (an administrator). Says nothing and ends with 0 when all went as it should.
package main

import (
	"log"
	"os"

	"github.com/gophercloud/gophercloud"
	"github.com/gophercloud/gophercloud/openstack"
	"github.com/gophercloud/gophercloud/openstack/networking/v2/extensions/attributestags"
	"github.com/gophercloud/gophercloud/openstack/networking/v2/extensions/external"
	"github.com/gophercloud/gophercloud/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/openstack/networking/v2/extensions/subnetpools"
	"github.com/gophercloud/gophercloud/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/openstack/networking/v2/subnets"
)

func must(err error) {
	if err != nil {
		log.Output(2, err.Error())
		os.Exit(1)
	}
}

func same(what string, got, want interface{}) {
	if got != want {
		log.Fatalf("%s is %v, %v is expected", what, got, want)
	}
}

// gone fails unless the error is that there is nothing.
func gone(what string, err error) {
	if _, missing := err.(gophercloud.ErrDefault404); !missing {
		log.Fatalf("%s is still there: %v", what, err)
	}
}

func main() {
	log.SetFlags(log.Lshortfile)
	provider, err := openstack.AuthenticatedClient(gophercloud.AuthOptions{
		IdentityEndpoint: os.Getenv("OS_AUTH_URL"), Username: os.Getenv("OS_USERNAME"), Password: os.Getenv("OS_PASSWORD"), TenantName: os.Getenv("OS_PROJECT_NAME"), DomainID: "default",
	})
	must(err)
	client, err := openstack.NewNetworkV2(provider, gophercloud.EndpointOpts{Region: os.Getenv("OS_REGION_NAME")})
	must(err)
	yes, no := true, false

	network, err := networks.Create(client, networks.CreateOpts{Name: "blue", Description: "d", AdminStateUp: &yes}).Extract()
	must(err)
	outside, err := networks.Create(client, external.CreateOptsExt{CreateOptsBuilder: networks.CreateOpts{Name: "outside"}, External: &yes}).Extract()
	must(err)
	green := "green"
	network, err = networks.Update(client, network.ID, networks.UpdateOpts{Name: &green}).Extract()
	must(err)
	same("name", network.Name, green)
	tags, err := attributestags.ReplaceAll(client, "networks", network.ID, attributestags.ReplaceAllOpts{Tags: []string{"a", "b"}}).Extract()
	must(err)
	same("tags", len(tags), 2)
	pages, err := networks.List(client, networks.ListOpts{Tags: "a,b"}).AllPages()
	must(err)
	found, err := networks.ExtractNetworks(pages)
	must(err)
	same("networks with the tags", len(found), 1)
	same("the network with the tags", found[0].ID, network.ID)

	subnet, err := subnets.Create(client, subnets.CreateOpts{NetworkID: network.ID, CIDR: "10.0.0.0/24", IPVersion: gophercloud.IPv4, Name: "four", DNSNameservers: []string{"192.0.2.53"}}).Extract()
	must(err)
	same("gateway", subnet.GatewayIP, "10.0.0.1")
	subnet, err = subnets.Update(client, subnet.ID, subnets.UpdateOpts{EnableDHCP: &no, DNSNameservers: &[]string{"192.0.2.54"}}).Extract()
	must(err)
	same("enable_dhcp", subnet.EnableDHCP, false)
	outer, err := subnets.Create(client, subnets.CreateOpts{NetworkID: outside.ID, CIDR: "203.0.113.0/24", IPVersion: gophercloud.IPv4}).Extract()
	must(err)
	pool, err := subnetpools.Create(client, subnetpools.CreateOpts{Name: "p", Prefixes: []string{"10.64.0.0/16"}, DefaultPrefixLen: 26}).Extract()
	must(err)
	pool, err = subnetpools.Update(client, pool.ID, subnetpools.UpdateOpts{Name: "q", DefaultPrefixLen: 27}).Extract()
	must(err)
	same("default_prefixlen", pool.DefaultPrefixLen, 27)

	group, err := groups.Create(client, groups.CreateOpts{Name: "g"}).Extract()
	must(err)
	group, err = groups.Update(client, group.ID, groups.UpdateOpts{Name: "h"}).Extract()
	must(err)
	same("name", group.Name, "h")
	rule, err := rules.Create(client, rules.CreateOpts{Direction: rules.DirIngress, EtherType: rules.EtherType4, SecGroupID: group.ID, Protocol: rules.ProtocolTCP, PortRangeMin: 80, PortRangeMax: 90}).Extract()
	must(err)
	same("port_range_max", rule.PortRangeMax, 90)

	port, err := ports.Create(client, ports.CreateOpts{NetworkID: network.ID, Name: "vm", SecurityGroups: &[]string{group.ID}, FixedIPs: []ports.IP{{SubnetID: subnet.ID, IPAddress: "10.0.0.9"}}}).Extract()
	must(err)
	same("address", port.FixedIPs[0].IPAddress, "10.0.0.9")
	renamed := "vm2"
	port, err = ports.Update(client, port.ID, ports.UpdateOpts{Name: &renamed, AllowedAddressPairs: &[]ports.AddressPair{{IPAddress: "10.0.0.77"}}}).Extract()
	must(err)
	same("pairs", len(port.AllowedAddressPairs), 1)

	router, err := routers.Create(client, routers.CreateOpts{Name: "r", GatewayInfo: &routers.GatewayInfo{NetworkID: outside.ID}}).Extract()
	must(err)
	_, err = routers.AddInterface(client, router.ID, routers.AddInterfaceOpts{SubnetID: subnet.ID}).Extract()
	must(err)
	router, err = routers.Update(client, router.ID, routers.UpdateOpts{Name: "s", Routes: []routers.Route{{DestinationCIDR: "198.51.100.0/24", NextHop: "10.0.0.9"}}}).Extract()
	must(err)
	same("routes", len(router.Routes), 1)

	floating, err := floatingips.Create(client, floatingips.CreateOpts{FloatingNetworkID: outside.ID, PortID: port.ID}).Extract()
	must(err)
	same("fixed_ip_address", floating.FixedIP, "10.0.0.9")
	none := ""
	floating, err = floatingips.Update(client, floating.ID, floatingips.UpdateOpts{PortID: &none}).Extract()
	must(err)
	same("port_id", floating.PortID, "")
	floating, err = floatingips.Update(client, floating.ID, floatingips.UpdateOpts{PortID: &port.ID}).Extract()
	must(err)
	floating, err = floatingips.Get(client, floating.ID).Extract()
	must(err)
	same("router_id", floating.RouterID, router.ID)

	must(floatingips.Delete(client, floating.ID).ExtractErr())
	gone("floating IP", floatingips.Get(client, floating.ID).Err)
	_, err = routers.Update(client, router.ID, routers.UpdateOpts{Routes: []routers.Route{}}).Extract()
	must(err)
	_, err = routers.RemoveInterface(client, router.ID, routers.RemoveInterfaceOpts{SubnetID: subnet.ID}).Extract()
	must(err)
	must(routers.Delete(client, router.ID).ExtractErr())
	gone("router", routers.Get(client, router.ID).Err)
	must(ports.Delete(client, port.ID).ExtractErr())
	gone("port", ports.Get(client, port.ID).Err)
	must(rules.Delete(client, rule.ID).ExtractErr())
	must(groups.Delete(client, group.ID).ExtractErr())
	gone("security group", groups.Get(client, group.ID).Err)
	must(subnetpools.Delete(client, pool.ID).ExtractErr())
	for _, id := range []string{subnet.ID, outer.ID} {
		must(subnets.Delete(client, id).ExtractErr())
		gone("subnet", subnets.Get(client, id).Err)
	}
	for _, id := range []string{network.ID, outside.ID} {
		must(networks.Delete(client, id).ExtractErr())
		gone("network", networks.Get(client, id).Err)
	}
}
