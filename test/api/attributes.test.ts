// What may be said of each attribute, and asked for by it, against the reference's own definitions: test/fixtures/api/attributes.json, by collection
// and attribute one letter each for c(reate), u(pdate), v(isible), f(ilter), s(ort), r(equired). Attributes that are not served are no matter of it.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { makeRegistry } from "../../src/northbound/index.ts";
import { Harness } from "../support/harness.ts";

type Flags = Readonly<Record<string, string>>;
const wanted = JSON.parse(readFileSync(new URL("../fixtures/api/attributes.json", import.meta.url), "utf8")) as Readonly<Record<string, Flags>>;

/** Where it is otherwise on purpose, and why. */
const DIFFERENT: Readonly<Record<string, string>> = {
  "networks.mtu": "cuvfs", // net-mtu-writable, an extension of its own
  "subnets.segment_id": "cuvfs", // subnet-segmentid-writable, likewise
  "floatingips.router_id": "cuvfs", // floating-ip-router-writable, likewise
  "ports.tags": "cv", // tag-ports-during-bulk-creation, an extension of its own
  "port_forwardings.external_port": "cuvfs", // or a range
  "port_forwardings.internal_port": "cuv",
  "segments.segmentation_id": "cvfs", // clients ask for it as they do of networks
  ...Object.fromEntries(["cidr", "network_id", "project_id", "subnet_id", "subnet_name"].map((name) => [`floatingip_pools.${name}`, "vf"])), // filters are its use
  "ports.propagate_uplink_status": "cuv", // uplink-status-propagation-updatable
  "networks.availability_zone_hints": "cv", // lists have no order
  // agent_sort_key, an extension of its own
  ...Object.fromEntries(["id", "agent_type", "binary", "topic", "host", "alive", "availability_zone"].map((name) => [`agents.${name}`, "vfs"])),
  ...Object.fromEntries(["admin_state_up", "description"].map((name) => [`agents.${name}`, "uvfs"])),
  ...Object.fromEntries(["created_at", "started_at", "heartbeat_timestamp"].map((name) => [`agents.${name}`, "vs"])),
  ...Object.fromEntries(["service_type", "name", "default"].map((name) => [`service_providers.${name}`, "vf"])),
  "policies.shared": "cuvfs", // sorted by what they show
  ...Object.fromEntries(["all_supported", "all_rules"].map((name) => [`rule_types.${name}`, "f"])), // nobody makes a type
  // Sorted by what they show; a type has no default, and the target may be given by its newer name.
  ...Object.fromEntries(Object.entries({ id: "vfs", project_id: "cvfs", tenant_id: "cvfs", object_type: "cvfr", target_tenant: "cuvf" }).map(([name, flags]) => [`rbac_policies.${name}`, flags])),
  // Rules of metering labels are not changed; by which prefixes they match is one attribute or the other two.
  ...Object.fromEntries(["project_id", "tenant_id", "remote_ip_prefix", "source_ip_prefix", "destination_ip_prefix"].map((name) => [`metering_label_rules.${name}`, "cvfs"])),
  // Found by what they show, as a client that was told a name does it.
  ...Object.fromEntries(["tap_services", "tap_flows", "tap_mirrors"].flatMap((of) => Object.entries({ id: "vfs", name: "cuvfs", description: "cuvf", project_id: "cvfs", tenant_id: "cvfs", port_id: "cvfr", tap_service_id: "cvfr", source_port: "cvfr", direction: "cvfr" }).map(([name, flags]) => [`${of}.${name}`, flags]))),
  // Likewise.
  ...Object.fromEntries(Object.entries({ id: "vfs", project_id: "cvfs", description: "cuvf", router_id: "cvfsr", port_id: "cvfsr", ip_address: "cvfs" }).map(([name, flags]) => [`ndp_proxies.${name}`, flags])),
};

test("attributes are created, updated, shown, filtered and sorted by as the reference says", async () => {
  const h = await Harness.make();
  try {
    const { kinds } = makeRegistry(h.apps);
    const differences: string[] = [];
    let compared = 0;
    for (const kind of kinds.values()) {
      const flags = wanted[kind.resource.collection];
      for (const { name, decl, post, put, visible } of flags === undefined ? [] : kind.attributes.values()) {
        const at = `${kind.resource.collection}.${name}`;
        const should = DIFFERENT[at] ?? (name === "tags" ? "v" : flags![name]);
        if (should === undefined) continue;
        compared++;
        const has = [post && "c", put && kind.can.update && "u", visible && "v", decl.filter === true && "f", decl.sort === true && "s", decl.required === true && "r"].filter((f) => f !== false).join("");
        if (has !== should) differences.push(`${at}: ${has} is ${should}`);
      }
    }
    expect(differences).toEqual([]);
    expect(compared).toBeGreaterThan(150);
  } finally {
    await h.close();
  }
});
