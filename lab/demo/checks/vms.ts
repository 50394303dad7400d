// What the demo proves of what VMs do by themselves: they wait for the router to speak, hand addresses over, and send more than a packet holds.
import { until } from "../../exec.ts";
import { type Outcome, Surprise } from "../report.ts";
import type { Guest, Tenant } from "../tenants.ts";

/** What the demo's controller is told: the least that RFC 4861 section 6.2.1 has, so that nobody waits for minutes. */
export const RA_INTERVAL_S = 4;
const SHARED = "10.0.0.200";
const FAILOVER_MS = 1200;
const DATAGRAM_BYTES = 3000;

/** Seconds until a VM forgets its IPv6 default route. */
async function expiresIn({ vm }: Guest): Promise<number | undefined> {
  const { stdout } = await vm.exec(["ip", "-6", "route", "show", "default"]);
  const seconds = /expires (\d+)sec/.exec(stdout)?.[1];
  return seconds === undefined ? undefined : Number(seconds);
}

/** A VM that asks nobody keeps its default route: the router advertises itself. */
export async function routeRenewed({ red }: { readonly red: Tenant }): Promise<Outcome> {
  const guest = red.guests[0]!;
  const asked = await guest.vm.tcpdump("icmp6 and ip6[40] == 133");
  const seen: number[] = [];
  const renewed = async (): Promise<boolean> => {
    const now = await expiresIn(guest);
    if (now === undefined) throw new Surprise(`an IPv6 default route of ${guest.name} that expires`, "none");
    seen.push(now);
    return seen.length > 1 && now > seen.at(-2)!;
  };
  const held = await until("the route's renewal", renewed, { timeoutMs: (RA_INTERVAL_S + 3) * 1000, intervalMs: 200 }).then(() => true, () => false);
  const { count } = await asked.stop();
  return {
    held: held && count === 0,
    figure: `${guest.name}'s IPv6 default route: expires in ${Math.min(...seen)} s, then in ${seen.at(-1)!} s; it asked ${count} times`,
    ...(!(held && count === 0) && { expected: "renewed, unasked", seen: seen.join(", ") }),
  };
}

/** An address that two VMs may have goes from one to the other, as VRRP and keepalived do it: a gratuitous ARP, and peers follow. */
export async function failover({ red }: { readonly red: Tenant }): Promise<Outcome> {
  const [first, second, peer] = [red.guests[0]!, red.guests[1]!, red.guests[2]!];
  const pair = (list: readonly object[]): Promise<unknown> =>
    Promise.all([first, second].map(({ port }) => red.call("PUT", `/v2.0/ports/${port.id}`, { port: { allowed_address_pairs: list } }, 200)));
  const take = async ({ vm }: Guest): Promise<void> => {
    await vm.configure(`addr add ${SHARED}/24 dev ${vm.device}`);
    await vm.exec(["arping", "-U", "-c", "1", "-w", "1", "-I", vm.device, SHARED], { allowFailure: true });
  };
  await pair([{ ip_address: SHARED }]);
  await take(first);
  await until(`${SHARED} answers at ${first.name}`, () => peer.vm.reaches(SHARED), { timeoutMs: 5000 });
  const pings = peer.vm.pingStart(SHARED, { intervalMs: 20 });
  await until("pings are answered", () => Promise.resolve(pings.received > 10), { timeoutMs: 5000 });
  await first.vm.configure(`addr del ${SHARED}/24 dev ${first.vm.device}`);
  await take(second);
  const before = pings.received;
  await until(`${SHARED} answers at ${second.name}`, () => Promise.resolve(pings.received > before + 10), { timeoutMs: 8000 }).catch(() => undefined);
  const { longestGapMs } = await pings.stop();
  const answered = await peer.vm.arping(SHARED);
  await second.vm.configure(`addr del ${SHARED}/24 dev ${second.vm.device}`);
  await pair([]);
  const held = longestGapMs <= FAILOVER_MS && answered.every((mac) => mac === second.port.mac_address) && answered.length > 0;
  return {
    held,
    figure: `${SHARED} from ${first.name} (${first.hypervisor.name}) to ${second.name} (${second.hypervisor.name}): ${Math.round(longestGapMs)} ms without an answer`,
    ...(!held && { expected: `at most ${FAILOVER_MS} ms, and ${second.port.mac_address} alone answering for it`, seen: `${Math.round(longestGapMs)} ms; answers of ${answered.join(", ") || "nobody"}` }),
  };
}

/** Datagrams in fragments follow the rules as whole ones do; routers answer large pings. */
export async function fragments({ red }: { readonly red: Tenant }): Promise<Outcome> {
  const client = red.guests[0]!;
  const server = red.guests[3]!;
  const rule = await red.addRule(red.groups.web, { protocol: "udp", port_range_min: 5000, port_range_max: 5000, remote_ip_prefix: "10.0.0.0/24" });
  const listening = await Promise.all([5000, 5001].map((port) => server.vm.listen(port)));
  await until("udp/5000 open", () => client.vm.probeUdp(server.ip, 5000, 300), { timeoutMs: 5000 });
  const [open, closed, ping] = await Promise.all([
    client.vm.probeUdp(server.ip, 5000, 1000, DATAGRAM_BYTES),
    client.vm.probeUdp(server.ip, 5001, 1000, DATAGRAM_BYTES),
    client.vm.ping(client.gateway!, { count: 3, intervalMs: 40, sizeBytes: 4000 }),
  ]);
  await Promise.all(listening.map((l) => l.close()));
  await red.call("DELETE", `/v2.0/security-group-rules/${rule}`, undefined, 204);
  const say = (echoed: boolean): string => (echoed ? "echoed" : "not");
  return {
    held: open && !closed && ping.received === 3,
    figure: `${DATAGRAM_BYTES} bytes to udp/5000, which a rule opens, ${say(open)}; to udp/5001 ${say(closed)}; ${ping.received} of 3 pings of 4000 bytes answered by the router`,
    expected: "echoed; not; 3",
  };
}
