// Networks on very many hosts, without a controller that compiles each host that comes: they are there when it starts.
import { expect } from "vitest";
import { chassisTable, draw, vifTable, zonePool } from "#app";
import { Packet, trace, TraceSwitch } from "../../src/trace/index.ts";
import { Harness, ToldSwitch, type HarnessOptions } from "./harness.ts";

const GENEVE = 65_101;
/** Ports that one call makes. */
const BULK = 200;
const PROJECT = "wide";
const cause = { requestId: "test", call: "test" };

/** Of each call's hosts the first two alone are looked at: a thousand times two thousand flows. */
const unseen = (): ToldSwitch => Object.assign(new ToldSwitch(), { apply: () => undefined, connect: () => undefined });

/** Bridge mappings of the host with a key. */
export type Mapped = (key: number) => Readonly<Record<string, string>>;
const NOWHERE: Mapped = () => ({});

/** A network with a host for each of these keys, `hv<key>`, that has a port of it, without port security, as OpenFlow port 10. */
export async function wide(keys: readonly number[], options: HarnessOptions = {}, attributes: Readonly<Record<string, unknown>> = {}, mapped = NOWHERE): Promise<{ readonly h: Harness; readonly network: string }> {
  const h = await Harness.make([], undefined, options);
  await h.call("PUT", `/v2.0/quotas/${PROJECT}`, { quota: { port: -1 } });
  const network = (await h.create("network", { project_id: PROJECT, ...attributes })).id;
  await h.settled();
  h.loop.stop();
  await join(h, network, keys, mapped);
  return { h: await h.restart(), network };
}

async function ports(h: Harness, network: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n += BULK) {
    const one = { network_id: network, project_id: PROJECT, port_security_enabled: false, security_groups: [] };
    const { status, body } = await h.call("POST", "/v2.0/ports", { ports: Array.from({ length: Math.min(BULK, count - n) }, () => one) });
    expect(status).toBe(201);
    ids.push(...body.ports.map(({ id }: { id: string }) => id));
  }
  return ids;
}

/** More hosts; the ports that they have. */
export async function join(h: Harness, network: string, keys: readonly number[], mapped = NOWHERE): Promise<readonly string[]> {
  for (const key of keys.slice(2)) h.switches.set(`hv${key}`, unseen());
  const ids = await ports(h, network, keys.length);
  await h.model.transact(cause, (tx) => {
    keys.forEach((key, n) => {
      const id = `hv${key}`;
      tx.put(chassisTable, {
        id, key, hostname: id, bridge: "br-int", dpid: key.toString(16).padStart(16, "0"), datapath_type: "netdev", encap_ip: `10.${key >> 8}.${key & 255}.1`, encap_types: ["geneve"], bridge_mappings: mapped(key), gateway: false, ovs_version: "3.1.0",
      });
      tx.put(vifTable, { id: `${id}/tap10`, chassis: id, iface_id: ids[n]!, name: "tap10", ofport: 10, slot: draw(tx, zonePool, id) });
    });
  });
  return ids;
}

/** More ports at one host: as OpenFlow ports from `ofport` on. */
export async function plugMany(h: Harness, network: string, host: string, ofport: number, count: number): Promise<void> {
  const ids = await ports(h, network, count);
  await h.model.transact(cause, (tx) => {
    ids.forEach((id, n) => tx.put(vifTable, { id: `${host}/tap${ofport + n}`, chassis: host, iface_id: id, name: `tap${ofport + n}`, ofport: ofport + n, slot: draw(tx, zonePool, host) }));
  });
  await h.settled();
}

/** To how many hosts, and ports of its own, patches among them, a host's switch sends what its port 10 sends, or what comes in elsewhere; to each once. */
export function copiesOf(h: Harness, host: string, frame: Readonly<Record<string, string | number>>, patches: readonly number[] = []): { readonly hosts: number; readonly ports: number } {
  const known = [{ number: GENEVE, tunnel: { remote: "flow", local: "172.16.0.1", key: "flow" } } as const, ...Array.from({ length: 4000 }, (_, n) => ({ number: n + 1 })), ...patches.map((number) => ({ number }))];
  const { outputs, error } = trace(TraceSwitch.ofDesired(h.engine.flowsOf(host), h.engine.itemsOf(host), { ports: known }), Packet.of({ in_port: 10, eth_src: "fa:16:3e:00:00:01", ...frame }));
  expect(error).toBeUndefined();
  const tunnelled = outputs.filter((o) => o.port === GENEVE).map((o) => o.packet.get("tun_ipv4_dst"));
  const local = outputs.filter((o) => o.port !== GENEVE).map((o) => o.port);
  expect([new Set(tunnelled).size, new Set(local).size]).toEqual([tunnelled.length, local.length]);
  return { hosts: tunnelled.length, ports: local.length };
}

/** Bytes of flow-mods that a change sends to one of these hosts, at most, and to a table. */
export async function costs(h: Harness, hosts: readonly string[], change: () => Promise<unknown>): Promise<{ readonly most: number; readonly byTable: Readonly<Record<string, number>> }> {
  let most = 0;
  const byTable: Record<string, number> = {};
  const stop = h.engine.onDelta(({ chassis }) => {
    for (const host of hosts) {
      const flows = [...(chassis.get(host)?.add ?? []), ...(chassis.get(host)?.remove ?? [])];
      most = Math.max(most, flows.reduce((sum, f) => sum + f.len, 0));
      for (const f of flows) {
        const { name } = h.layout.tableById(f.table)!;
        byTable[name] = Math.max(byTable[name] ?? 0, f.len);
      }
    }
  });
  await change();
  await h.settled();
  stop();
  return { most, byTable };
}
