// From hosts and a controller that know nothing of each other to a cloud in which ports are up.

import type { Controller } from "../controller.ts";
import { exec, until } from "../exec.ts";
import type { Hypervisor } from "../hypervisor.ts";
import { Surprise } from "./report.ts";
import type { Tenant } from "./tenants.ts";
import { switchStates } from "./world.ts";

const READY_TIMEOUT_MS = 20_000;

/**
 * Open vSwitch's userspace datapath drops the packet that makes it ask for a tunnel peer's MAC. It listens to what the
 * host's own kernel asks, now that there are tunnel ports: that spares each tunnel the first loss.
 */
export async function underlayUp(hypervisors: readonly Hypervisor[]): Promise<void> {
  await Promise.all(
    hypervisors.map(async (from) => {
      for (const { encapIp } of hypervisors.filter((to) => to !== from)) {
        const meet = async (): Promise<boolean> => {
          await from.configure(`neigh flush to ${encapIp} dev br-phy`);
          await from.exec(["ping", "-n", "-c", "1", "-W", "1", encapIp], { allowFailure: true });
          return (await from.appctl("tnl/neigh/show")).includes(`${encapIp} `);
        };
        await until(`${from.name} knows ${encapIp}`, meet);
      }
    }),
  );
}

export async function adopt(hypervisors: readonly Hypervisor[], controller: Controller, waiting: (awaited: string) => void): Promise<void> {
  await Promise.all(hypervisors.map((hypervisor) => hypervisor.setManager(controller.manager)));
  const notYet = async (): Promise<string[]> => {
    const switches = await switchStates(controller);
    return hypervisors.flatMap(({ systemId }) => {
      const state = switches.find(({ id }) => id === systemId)?.state ?? "unknown";
      return state === "connected" ? [] : [`${systemId} ${state}`];
    });
  };
  await emptied("switches that are not connected and filled", notYet, waiting);
}

export async function active(tenants: readonly Tenant[], waiting: (awaited: string) => void): Promise<void> {
  const notYet = async (): Promise<string[]> =>
    (await Promise.all(tenants.map((tenant) => tenant.ports()))).flat().flatMap((port) => (port.status === "ACTIVE" ? [] : [`${port.name} ${port.status}`]));
  await emptied("ports that are not ACTIVE", notYet, waiting);
}

/** Waits until the list is empty. @throws Surprise with what is left of it */
async function emptied(what: string, list: () => Promise<string[]>, waiting: (awaited: string) => void): Promise<void> {
  let left: string[] = [];
  const empty = async (): Promise<boolean> => {
    left = await list();
    waiting(`${what}: ${left.join(", ")}`);
    return left.length === 0;
  };
  await until(what, empty, { timeoutMs: READY_TIMEOUT_MS, intervalMs: 50 }).catch(() => {
    throw new Surprise(`no ${what} after ${READY_TIMEOUT_MS / 1000} s`, left.join(", "));
  });
}

/** Whether the commands that checks run are there; those of the lab itself `Lab.missing` knows. */
export async function missingCommands(): Promise<string[]> {
  const found = await Promise.all(
    ["tcpdump", "arping", "udhcpc", "timeout"].map(async (command) => ((await exec(["sh", "-c", 'command -v "$0"', command], { allowFailure: true })).exitCode === 0 ? [] : [command])),
  );
  return found.flat();
}
