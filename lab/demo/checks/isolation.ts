// What the demo proves of isolation: of two tenants with the same addresses none gets a packet of the other's, nor sees it in the API.

import type { Capture } from "../../guest.ts";
import type { Outcome } from "../report.ts";
import type { Guest, Tenant } from "../tenants.ts";
import { fronts, guestsOf, some, type World } from "../world.ts";

export interface Noise {
  /** What each VM's interface saw. */
  readonly seen: ReadonlyMap<Guest, readonly string[]>;
}

/** Both tenants at once, as loud as they can be: unicast, ARP, broadcast, multicast; captured at every VM. */
export async function noise(world: World, waiting: (awaited: string) => void): Promise<Noise> {
  const captures = new Map<Guest, Capture>();
  await Promise.all(guestsOf(world).map(async (guest) => captures.set(guest, await guest.vm.tcpdump())));
  waiting("pings, ARP, broadcasts of both tenants");
  await Promise.all(
    [world.red, world.blue].flatMap((tenant) =>
      fronts(tenant).map(async (guest) => {
        const run = (...argv: string[]): Promise<unknown> => guest.vm.exec(argv, { allowFailure: true, timeoutMs: 10_000 });
        await run("ping", "-n", "-b", "-c", "3", "-i", "0.1", "-W", "0.3", "10.0.0.255");
        await run("ping", "-n", "-c", "3", "-i", "0.1", "-W", "0.3", `ff02::1%${guest.vm.device}`);
        await guest.vm.arping("10.0.0.250"); // nobody's
        await Promise.all([...fronts(world.red), ...fronts(world.blue)].map((other) => guest.vm.ping(other.ip, { count: 2, intervalMs: 50, timeoutMs: 300 })));
      }),
    ),
  );
  const seen = new Map<Guest, readonly string[]>();
  await Promise.all([...captures].map(async ([guest, capture]) => seen.set(guest, (await capture.stop()).lines)));
  return { seen };
}

/** That none of `watched`'s VMs saw a packet of `loud`, though they saw each other's broadcasts. */
export function isolation({ seen }: Noise, watched: Tenant, loud: Tenant): Outcome {
  const foreign: string[] = [];
  let packets = 0;
  for (const guest of watched.guests) {
    for (const line of seen.get(guest) ?? []) {
      packets++;
      if (loud.macs.some((mac) => line.includes(mac))) foreign.push(`${guest.name}: ${line}`);
    }
  }
  const deaf: string[] = [];
  for (const guest of fronts(watched)) {
    for (const other of fronts(watched)) {
      if (other === guest) continue;
      if (!seen.get(guest)!.some((line) => line.includes(`${other.port.mac_address} >`) && line.includes("10.0.0.255: ICMP echo request"))) deaf.push(`${guest.name} not ${other.name}'s`);
    }
  }
  return {
    held: foreign.length === 0 && deaf.length === 0 && packets > 0,
    figure: `${foreign.length} of ${packets} packets seen by ${watched.name}'s VMs are ${loud.name}'s; broadcasts of its own all arrived`,
    ...(foreign.length > 0
      ? { expected: `no packet with one of ${loud.name}'s MACs`, seen: some(foreign) }
      : deaf.length > 0 && { expected: "every VM sees the broadcasts of its own network", seen: `missing: ${some(deaf)}` }),
  };
}

/** An address that only blue has: red's packets for it find nobody, blue's do. */
export async function foreignAddress({ red, blue }: World): Promise<Outcome> {
  const target = blue.plan.ownAddress!;
  const [red1, blue1] = [red.guests[0]!, blue.guests[0]!];
  const [ping, arp, own] = await Promise.all([
    red1.vm.ping(target, { count: 3, intervalMs: 100, timeoutMs: 500 }),
    red1.vm.arping(target),
    blue1.vm.ping(target, { count: 3, intervalMs: 200 }),
  ]);
  return {
    held: ping.received === 0 && arp.length === 0 && own.received === 3,
    figure: `${target} from red: ${ping.received} of 3 answered, ${arp.length} ARP answers; from blue: ${own.received} of 3`,
    expected: "none from red, all from blue",
  };
}

/** The API shows a project nothing of another's, but the network outside, which is everybody's. */
export async function foreignResources({ red, blue }: World): Promise<Outcome> {
  const [one, list] = await Promise.all([
    red.raw("GET", `/v2.0/ports/${blue.guests[0]!.port.id}`),
    red.call<{ networks: { project_id: string; "router:external": boolean }[] }>("GET", "/v2.0/networks", undefined, 200),
  ]);
  const own = list.networks.filter((network) => network.project_id === red.name).length;
  const external = list.networks.filter((network) => network["router:external"]).length;
  const foreign = list.networks.length - own - external;
  return {
    held: one.status === 404 && foreign === 0 && own === 3 && external === 1,
    figure: `red sees ${own} networks of its own, ${external} external, ${foreign} foreign; blue's port is ${one.status} to it`,
    expected: "3 of its own, 1 external, none foreign, 404",
  };
}
