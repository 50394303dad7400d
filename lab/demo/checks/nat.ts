// What the demo proves of the way outside: sources translated at gateways, a floating IP, a forwarded port.

import { until } from "../../exec.ts";
import { getPage, serveWeb } from "../web.ts";
import { CLIENT, FORWARDED_PORT, GATEWAY_HOSTS, hostsOf, leaving, WEB } from "../outside.ts";
import type { Outcome } from "../report.ts";
import type { Guest, Tenant } from "../tenants.ts";
import { backOf, some, type World } from "../world.ts";

const PAGE = (address: string): string => `the web server sees you as ${address}`;
const FIRST_LOCAL_PORT = 40_000;
const READY_MS = 10_000;

/** VMs of both tenants, with the same addresses and ports, hold a connection to one server at the same time. */
export async function sources({ red, blue, outside, hypervisors }: World): Promise<Outcome> {
  const asking = [red, blue].flatMap((tenant) => tenant.guests.slice(0, 4).map((guest, number) => ({ tenant, guest, localPort: FIRST_LOCAL_PORT + number })));
  const path = `/at-once/${asking.length}`;
  const wrong: string[] = [];
  const untranslated = await outside.internet.tcpdump("net 10.0.0.0/8");
  const left = await leaving(hypervisors, "tcp dst port 80", () =>
    Promise.all(
      asking.map(async ({ tenant, guest, localPort }) => {
        const { page, error } = await getPage(guest.vm, `http://${WEB}${path}`, { localPort });
        if (page !== PAGE(tenant.gateway)) wrong.push(`${guest.name}: ${page ?? error!}, not ${tenant.gateway}`);
      }),
    ),
  );
  const { lines: inside } = await untranslated.stop();
  wrong.push(...inside);
  const requests = outside.server.requests.filter((request) => request.path === path);
  const told = [red, blue].map((tenant) => {
    const seen = requests.filter(({ from }) => from === tenant.gateway).length;
    const hosts = hostsOf(left, tenant.gateway);
    if (seen !== 4) wrong.push(`the server saw ${seen} requests of ${tenant.gateway}`);
    if (hosts.length !== 1 || !GATEWAY_HOSTS.includes(hosts[0]!)) wrong.push(`${tenant.gateway} leaves from ${hosts.join(", ") || "nowhere"}`);
    tenant.gatewayHost = hosts[0] ?? "";
    return `${seen} as ${tenant.gateway} (${tenant.name}'s gateway, on ${tenant.gatewayHost})`;
  });
  return {
    held: wrong.length === 0,
    figure: `${asking.length} VMs hold a connection to http://${WEB}/ at once, ${red.guests[0]!.name} and ${blue.guests[0]!.name} both from ${blue.guests[0]!.ip}:${FIRST_LOCAL_PORT}; the server sees ${told.join(" and ")}, ${inside.length} packets of 10.0.0.0/8`,
    ...(wrong.length > 0 && { expected: "each VM is seen with the address of its router's gateway, which leaves from one host", seen: some(wrong) }),
  };
}

interface FloatingIp {
  readonly id: string;
  readonly floating_ip_address: string;
  readonly status: string;
}

async function allocate(tenant: Tenant, networkId: string, port?: Guest): Promise<FloatingIp> {
  return tenant.create<FloatingIp>("floatingip", { floating_network_id: networkId, ...(port !== undefined && { port_id: port.port.id }) });
}

async function active(tenant: Tenant, { id }: FloatingIp, waiting: (awaited: string) => void): Promise<void> {
  waiting("the floating IP ACTIVE");
  const shown = async (): Promise<boolean> => (await tenant.call<{ floatingip: FloatingIp }>("GET", `/v2.0/floatingips/${id}`, undefined, 200)).floatingip.status === "ACTIVE";
  await until("the floating IP ACTIVE", shown, { timeoutMs: READY_MS, intervalMs: 50 });
}

/** An address of its own for a VM: it leaves from the VM's host, though that has no gateway, and leads in as security groups allow. */
export async function floatingIp({ red, networks, outside, hypervisors }: World, waiting: (awaited: string) => void): Promise<Outcome> {
  const [guest, other] = [red.guests[0]!, red.guests[1]!];
  const made = await allocate(red, networks.internet.id, guest);
  const address = (red.floatingIp = made.floating_ip_address);
  await active(red, made, waiting);
  let pages: (string | undefined)[] = [];
  const left = await leaving(hypervisors, `src host ${address}`, async () => {
    pages = (await Promise.all([guest, other].map(({ vm }) => getPage(vm, `http://${WEB}/`)))).map(({ page, error }) => page ?? error);
  });
  const servers = await Promise.all([22, FORWARDED_PORT].map((port) => guest.vm.listen(port)));
  const [ssh, closed] = await Promise.all([outside.client.connectTcp(address, 22, 3000), outside.client.connectTcp(address, FORWARDED_PORT, 1000)]);
  await Promise.all(servers.map((server) => server.close()));
  const hosts = hostsOf(left, address);
  const packets = left.get(guest.hypervisor.name)!.length;
  const say = (open: boolean): string => (open ? "open" : "closed");
  return {
    held: !GATEWAY_HOSTS.includes(guest.hypervisor.name) && pages[0] === PAGE(address) && pages[1] === PAGE(red.gateway) && hosts.join() === guest.hypervisor.name && ssh && !closed,
    figure: `${guest.name} is seen as ${address} now, ${packets} packets left from its own host, ${hosts.join(", ")}; ${other.name} still as ${red.gateway}; from the client outside tcp/22 ${say(ssh)}, tcp/${FORWARDED_PORT} ${say(closed)}`,
    expected: `${guest.name} as ${address}, from ${guest.hypervisor.name} alone; open, closed`,
    seen: `${pages.join("; ")}; from ${hosts.join(", ") || "nowhere"}; ${say(ssh)}, ${say(closed)}`,
  };
}

/** One port of an address leads to a VM that has none outside; the port beside it leads nowhere. */
export async function forwarding({ blue, networks, outside }: World, waiting: (awaited: string) => void): Promise<Outcome> {
  const guest = backOf(blue);
  await blue.addRule(blue.groups.default, { protocol: "tcp", port_range_min: 80, port_range_max: 80, remote_ip_prefix: "0.0.0.0/0", description: "http" });
  const made = await allocate(blue, networks.internet.id);
  const address = (blue.floatingIp = made.floating_ip_address);
  await blue.call("POST", `/v2.0/floatingips/${made.id}/port_forwardings`, {
    port_forwarding: { protocol: "tcp", external_port: FORWARDED_PORT, internal_port: 80, internal_port_id: guest.port.id, internal_ip_address: guest.ip },
  }, 201);
  const { requests } = await serveWeb(guest.vm, 80, guest.name);
  await active(blue, made, waiting);
  const [forwarded, beside] = await Promise.all([FORWARDED_PORT, FORWARDED_PORT + 1].map((port) => getPage(outside.client, `http://${address}:${port}/`, { timeoutMs: port === FORWARDED_PORT ? 5000 : 1000 })));
  const expected = `${guest.name} sees you as ${CLIENT}`;
  return {
    held: forwarded!.page === expected && requests.length === 1 && requests[0]!.from === CLIENT && beside!.page === undefined,
    figure: `http://${address}:${FORWARDED_PORT}/ from the client outside: "${forwarded!.page ?? forwarded!.error!}"; port ${FORWARDED_PORT + 1}: ${beside!.page ?? beside!.error!}`,
    expected: `"${expected}"; no page`,
  };
}
