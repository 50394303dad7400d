// dns_name, dns_domain and dns_assignment of ports, dns_domain of networks.
import { extendResource, invalidFor, reference, type Alias, type Attribute, type ReadView, type Tx, type Values } from "#app";
import { addressesOf, networkResource, networkTable, portResource, portTable, type Port } from "../l2/model.ts";
import { DNS_INTEGRATION, dnsSettings, hostOf, networkDomainTable, portNameTable } from "./model.ts";
import { NAME_MAX } from "./names.ts";

const dnsName: Attribute = { type: "string", about: "What the port is called; below the domain of all (`--dns-domain`) if it ends with a dot.", alias: DNS_INTEGRATION, post: true, put: true, default: "", check: { convert: "dns-host-name" } };
const domain = (alias: string, about: string): Attribute => ({ type: "string", about, alias, post: true, put: true, default: "", check: { convert: "dns-domain-name" } });

/** What comes in front of the domain of all. @throws ApiError for a whole name of another domain */
function hostFor(view: ReadView, name: string): string {
  const own = `.${view.settings(dnsSettings)["dns-domain"]}.`;
  if (!name.endsWith(".")) {
    if (name.length + own.length - 1 > NAME_MAX) throw invalidFor("dns_name", `'${name}${own}' exceeds the ${NAME_MAX} characters of a name`);
    return name;
  }
  if (!name.endsWith(own) || name.length === own.length) throw invalidFor("dns_name", `'${name}' is a FQDN that does not end with the DNS domain '${own.slice(1)}'`);
  return name.slice(0, -own.length);
}

function keepName(tx: Tx, { id, network_id, project_id }: Port, values: Values): void {
  const before = tx.get(portNameTable, id);
  const dns_name = (values.dns_name as string | undefined) ?? before?.dns_name ?? "";
  const dns_domain = (values.dns_domain as string | undefined) ?? before?.dns_domain ?? "";
  if (dns_name === (before?.dns_name ?? "") && dns_domain === (before?.dns_domain ?? "")) return;
  if (dns_name !== "" || dns_domain !== "") tx.put(portNameTable, { id, network_id, project_id, dns_name, dns_domain, host: hostFor(tx, dns_name) });
  else tx.delete(portNameTable, id);
}

const ofPort = extendResource(portResource, {
  attributes: {
    dns_name: dnsName,
    dns_domain: domain("dns-domain-ports", "Another domain that the port's name is found in, in its network."),
    dns_assignment: { type: "object[]", about: "How each of its addresses is called: ip_address, hostname, fqdn.", alias: DNS_INTEGRATION },
  },
  create: keepName,
  update: keepName,
  remove(tx, { id }) {
    tx.delete(portNameTable, id);
  },
  present(view, { id }) {
    const { dns_name = "", dns_domain = "" } = view.get(portNameTable, id) ?? {};
    const own = view.settings(dnsSettings)["dns-domain"];
    const dns_assignment = addressesOf(view, id).map((address) => {
      const hostname = hostOf(view, address);
      return { ip_address: address.ip, hostname, fqdn: `${hostname}.${own}.` };
    });
    return { dns_name, dns_domain, dns_assignment };
  },
});

const ofNetwork = extendResource(networkResource, {
  attributes: { dns_domain: domain(DNS_INTEGRATION, "The domain of the network's machines, in place of that of all.") },
  create(tx, { id }, { dns_domain }) {
    if (dns_domain !== undefined && dns_domain !== "") tx.put(networkDomainTable, { id, dns_domain: dns_domain as string });
  },
  update(tx, { id }, { dns_domain }) {
    if (dns_domain === undefined || dns_domain === (tx.get(networkDomainTable, id)?.dns_domain ?? "")) return;
    if (dns_domain !== "") tx.put(networkDomainTable, { id, dns_domain: dns_domain as string });
    else tx.delete(networkDomainTable, id);
  },
  remove(tx, { id }) {
    tx.delete(networkDomainTable, id);
  },
  present: (view, { id }) => ({ dns_domain: view.get(networkDomainTable, id)?.dns_domain ?? "" }),
});

export const extend = [ofPort, ofNetwork];
export const references = [
  reference(portNameTable, { to: portTable, ids: (n) => n.id, gone: (tx, n) => tx.delete(portNameTable, n.id) }),
  reference(networkDomainTable, { to: networkTable, ids: (n) => n.id, gone: (tx, n) => tx.delete(networkDomainTable, n.id) }),
];
export const aliases: readonly Alias[] = [
  { alias: DNS_INTEGRATION, name: "DNS Integration", description: "Names of ports, in the domains of their networks", updated: "2015-08-15T18:00:00-00:00" },
  { alias: "dns-domain-ports", name: "dns_domain for ports", description: "Domains of single ports", updated: "2017-04-24T10:00:00-00:00" },
];
