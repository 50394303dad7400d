// dns_name and dns_domain of floating IPs, given when one is created.
import { badRequest, extendResource, reference, type Attribute } from "#app";
import { DNS_INTEGRATION } from "../dns/model.ts";
import { floatingIpResource, floatingIpTable } from "../nat/model.ts";
import { floatingIpNameTable } from "./model.ts";

const named = (about: string, convert: string): Attribute => ({ type: "string", about, alias: DNS_INTEGRATION, post: true, default: "", check: { convert } });

const ofFloatingIp = extendResource(floatingIpResource, {
  attributes: { dns_name: named("What it is called outside.", "dns-host-name"), dns_domain: named("The domain of that name.", "dns-domain-name") },
  create(tx, { id }, input) {
    const [dns_name, dns_domain] = [input.dns_name as string, input.dns_domain as string];
    const [there, missing] = dns_name === "" ? ["dns_domain", "dns_name"] : ["dns_name", "dns_domain"];
    if ((dns_name === "") !== (dns_domain === "")) throw badRequest(`Bad floatingip request: ${there} cannot be specified without a ${missing}.`, "BadRequest");
    if (dns_name !== "") tx.put(floatingIpNameTable, { id, dns_name, dns_domain });
  },
  remove(tx, { id }) {
    if (tx.get(floatingIpNameTable, id) !== undefined) tx.delete(floatingIpNameTable, id);
  },
  present(view, { id }) {
    const { dns_name = "", dns_domain = "" } = view.get(floatingIpNameTable, id) ?? {};
    return { dns_name, dns_domain };
  },
});

export const extend = [ofFloatingIp];
export const references = [reference(floatingIpNameTable, { to: floatingIpTable, ids: (n) => n.id, gone: (tx, n) => tx.delete(floatingIpNameTable, n.id) })];
