// What the demo proves of addresses and reach inside: VMs have the addresses of the API and reach each other, over hosts and through routers.

import { until } from "../../exec.ts";
import { type Outcome, messageOf } from "../report.ts";
import type { Guest, Tenant } from "../tenants.ts";
import { backOf, fronts, guestsOf, some, type World } from "../world.ts";

const PINGS = 3;
/** Once others have answered, ping waits for its last answer no longer than this (or twice the longest round trip): a busy machine needs that. */
const PING_INTERVAL_MS = 200;
const IP_AND_ICMP_HEADER_BYTES = 28;

/** Every VM by the real client, and what it was told against what the API says. */
export async function dhcp(world: World): Promise<Outcome> {
  const wrong: string[] = [];
  await Promise.all(
    guestsOf(world).map(async ({ name, vm, ip, gateway, network }) => {
      try {
        const lease = await vm.dhcp({ timeoutMs: 8000 });
        const { stdout } = await vm.exec(["cat", `/sys/class/net/${vm.device}/mtu`]);
        const expect = (what: string, expected: unknown, seen: unknown): void => {
          if (String(expected) !== String(seen)) wrong.push(`${name} ${what}: expected ${String(expected)}, seen ${String(seen)}`);
        };
        expect("address", `${ip}/24`, `${lease.ip}/${lease.prefixLength}`);
        expect("router", gateway ?? "", lease.routers.join());
        expect("MTU in the lease", network.mtu, lease.mtu);
        expect("MTU of its interface", network.mtu, stdout.trim());
      } catch (error) {
        wrong.push(`${name}: ${messageOf(error)}`);
      }
    }),
  );
  const all = guestsOf(world);
  return {
    held: wrong.length === 0,
    figure: `${all.length} VMs have the API's fixed_ips, MTU ${[...new Set(all.map((guest) => guest.network.mtu))].join(", ")}`,
    ...(wrong.length > 0 && { expected: "the address, router and MTU of the API", seen: some(wrong) }),
  };
}

export async function slaac(world: World): Promise<Outcome> {
  const guests = guestsOf(world).filter((guest) => guest.ip6 !== undefined);
  const wrong: string[] = [];
  await Promise.all(
    guests.map(async ({ name, vm, ip6 }) => {
      await until(`${name} has ${ip6!}`, async () => (await vm.addresses()).includes(`${ip6!}/64`), { timeoutMs: 15_000, intervalMs: 100 }).catch(async () => {
        wrong.push(`${name} has ${(await vm.addresses()).join(", ") || "none"}, not ${ip6!}`);
      });
    }),
  );
  return {
    held: wrong.length === 0 && guests.length === 3,
    figure: `${guests.length} VMs made the API's address from the router's advertisement`,
    ...(wrong.length > 0 && { expected: "the API's addresses", seen: some(wrong) }),
  };
}

type Pair = readonly [from: Guest, to: string];

/** Pings all pairs side by side. */
async function pings(pairs: readonly Pair[], options: { sizeBytes?: number; dontFragment?: boolean } = {}): Promise<Outcome> {
  let sent = 0;
  const rtts: number[] = [];
  const lost: string[] = [];
  await Promise.all(
    pairs.map(async ([from, to]) => {
      const { received, rttMs } = await from.vm.ping(to, { count: PINGS, intervalMs: PING_INTERVAL_MS, ...options });
      sent += PINGS;
      rtts.push(...rttMs);
      if (received < PINGS) lost.push(`${from.name} (${from.hypervisor.name}) to ${to}: ${received} of ${PINGS}`);
    }),
  );
  rtts.sort((a, b) => a - b);
  const median = rtts[Math.floor(rtts.length / 2)]?.toFixed(1) ?? "-";
  return {
    held: lost.length === 0 && pairs.length > 0,
    figure: `${pairs.length} ways, ${rtts.length} of ${sent} answered, median ${median} ms`,
    ...(lost.length > 0 && { expected: "every one answered", seen: some(lost) }),
  };
}

const pairsOf = (from: readonly Guest[], to: readonly Guest[], address: (guest: Guest) => string | undefined): Pair[] =>
  from.flatMap((one) => to.filter((other) => other !== one).flatMap((other): Pair[] => (address(other) === undefined ? [] : [[one, address(other)!]])));

export const allPairs = (tenant: Tenant): Promise<Outcome> => pings(pairsOf(fronts(tenant), fronts(tenant), (guest) => guest.ip));

export const allPairs6 = (tenant: Tenant): Promise<Outcome> => pings(pairsOf(fronts(tenant), fronts(tenant), (guest) => guest.ip6));

export const throughRouter = (tenant: Tenant): Promise<Outcome> =>
  pings([
    ...pairsOf(fronts(tenant), [backOf(tenant)], (guest) => guest.ip),
    ...pairsOf([backOf(tenant)], fronts(tenant), (guest) => guest.ip),
  ]);

export const routerItself = (world: World): Promise<Outcome> =>
  pings([
    ...guestsOf(world).flatMap((guest): Pair[] => (guest.gateway === undefined ? [] : [[guest, guest.gateway]])),
    ...guestsOf(world).flatMap((guest): Pair[] => (guest.ip6 === undefined ? [] : [[guest, world.red.slaacSubnet!.gateway_ip]])),
  ]);

/** As large as the network's MTU allows, unfragmented, across hosts and through the router. */
export function fullSize(world: World): Promise<Outcome> {
  const sizeBytes = world.red.front.mtu - IP_AND_ICMP_HEADER_BYTES;
  return pings(
    [world.red, world.blue].flatMap((tenant) => [...pairsOf(fronts(tenant), fronts(tenant), (guest) => guest.ip), ...pairsOf(fronts(tenant), [backOf(tenant)], (guest) => guest.ip)]),
    { sizeBytes, dontFragment: true },
  );
}

/** The router is the first hop and says so; one hop more and the packet is there. */
export async function timeExceeded(world: World): Promise<Outcome> {
  const wrong: string[] = [];
  let ways = 0;
  const hop = async (from: Guest, to: Guest, ttl: number, expected: RegExp): Promise<void> => {
    ways++;
    const { stdout } = await from.vm.exec(["ping", "-n", "-c", "1", "-W", "2", "-t", String(ttl), to.ip], { allowFailure: true });
    if (!expected.test(stdout)) wrong.push(`${from.name} to ${to.ip} with TTL ${ttl}: ${stdout.trim().split("\n").slice(1, 2).join("") || "nothing"}`);
  };
  await Promise.all(
    [world.red, world.blue].map(async (tenant) => {
      const [near, far] = [fronts(tenant)[0]!, backOf(tenant)];
      await hop(near, far, 1, new RegExp(`From ${near.gateway!.replaceAll(".", "\\.")}\\D.*[Tt]ime to live exceeded`));
      await hop(near, far, 2, new RegExp(`bytes from ${far.ip.replaceAll(".", "\\.")}:`));
      await hop(far, near, 1, new RegExp(`From ${far.gateway!.replaceAll(".", "\\.")}\\D.*[Tt]ime to live exceeded`));
    }),
  );
  return {
    held: wrong.length === 0,
    figure: `TTL 1 ends at the router, TTL 2 arrives (${ways - wrong.length} of ${ways})`,
    ...(wrong.length > 0 && { expected: "time to live exceeded from the gateway, then an answer", seen: some(wrong) }),
  };
}
