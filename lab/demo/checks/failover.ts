// What the demo proves of gateways: the host that has one dies while no controller lives, and another one has it.

import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../../exec.ts";
import type { Hypervisor } from "../../hypervisor.ts";
import { hostsOf, leaving, WEB } from "../outside.ts";
import { type Outcome, Surprise } from "../report.ts";
import { switchStates, type World } from "../world.ts";

const PING_INTERVAL_MS = 10;
const MOST_LOST_MS = 1000;
/** From the death on, until the next host has the gateway for sure. */
const WATCHED_MS = 1500;
const READY_MS = 20_000;

/** Until hosts that watch each other by BFD all see each other alive. */
export async function gatewaysInUse(hypervisors: readonly Hypervisor[]): Promise<void> {
  const alive = async (): Promise<boolean> => {
    const seen = await Promise.all(hypervisors.map((hypervisor) => hypervisor.vsctl("--bare", "--columns=bfd_status", "find", "Interface", "bfd:enable=true")));
    return seen.every((text) => {
      const tunnels = text.split("\n").filter(Boolean);
      return tunnels.length > 0 && tunnels.every((status) => status.includes("forwarding=true"));
    });
  };
  await until("all hosts see the gateways' hosts alive", alive, { timeoutMs: READY_MS, intervalMs: 100 });
}

/** Pings every 10 ms from a VM whose host stays; the controller is killed, then the switch of the host that has its router's gateway. */
export async function gatewayKilled(world: World, waiting: (awaited: string) => void): Promise<Outcome> {
  const { controller, hypervisors, blue } = world;
  const guest = blue.guests[0]!;
  const from = async (): Promise<string> => {
    const left = await leaving(hypervisors, `icmp and src host ${blue.gateway}`, () => guest.vm.ping(WEB, { count: 2, intervalMs: 50 }));
    return hostsOf(left, blue.gateway).join(", ");
  };
  await gatewaysInUse(hypervisors);
  const before = await from();
  const dying = hypervisors.find(({ name }) => name === before);
  if (dying === undefined || dying === guest.hypervisor) throw new Surprise("one host, and not the VM's, has the gateway", before || "none has it");
  const began = performance.now();
  const run = guest.vm.pingStart(WEB, { intervalMs: PING_INTERVAL_MS });
  await until("answers", () => Promise.resolve(run.received > 30), { timeoutMs: 5000 });
  await controller.kill9();
  await dying.killVswitchd();
  await sleep(WATCHED_MS);
  const { longestGapMs, sent, received } = await run.stop();
  const apartMs = Math.round((performance.now() - began) / sent);
  const after = await from();
  const returning = guest.vm.pingStart(WEB, { intervalMs: PING_INTERVAL_MS });
  waiting("controller and switch again, and the gateway back");
  // A switch that is back before a controller is has no flows, and its BFD does not know: the controller says so first.
  await controller.start();
  const known = async (): Promise<boolean> => (await dying.vsctl("--bare", "--columns=bfd", "find", "Interface", "bfd:enable=true")).includes("cpath_down=true");
  await until(`${before} is known to be lost`, known, { timeoutMs: READY_MS });
  await dying.startVswitchd();
  await until("every switch in order", async () => (await switchStates(controller)).filter(({ state }) => state === "connected").length === hypervisors.length, { timeoutMs: READY_MS });
  const back = await until("the gateway back", async () => (await from()) === before, { timeoutMs: READY_MS }).then(() => true, () => false);
  const { longestGapMs: returnGapMs } = await returning.stop();
  const held = longestGapMs <= MOST_LOST_MS && returnGapMs <= MOST_LOST_MS && sent - received > 0 && after !== before && hypervisors.some(({ name }) => name === after) && back;
  return {
    held,
    figure: `controller killed, then ${before}: ${after} has blue's gateway after ${Math.round(longestGapMs)} ms (${sent - received} of ${sent} pings lost, ${apartMs} ms apart); both started, ${before} has it again, ${Math.round(returnGapMs)} ms lost`,
    expected: `at most ${MOST_LOST_MS} ms lost, but something; another host after, the first one again when it is back, with as little lost`,
    seen: `${Math.round(longestGapMs)} ms, ${sent - received} of ${sent} lost; ${before}, then ${after || "none"}, ${back ? "then back" : "never back"}, ${Math.round(returnGapMs)} ms`,
  };
}
