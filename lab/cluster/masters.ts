// Of several controllers: who has which host, as they say themselves.
import type { Controller } from "../controller.ts";

/** What GET /switches has of a switch, as far as it is looked at. */
export interface SwitchShown {
  readonly id: string;
  readonly role: string;
  readonly state: string;
  readonly master: string | null;
  readonly flows: { readonly desired: number; readonly installed: number; readonly pending: number };
}

/** @throws Error when it does not answer */
export const switchesOf = async (controller: Controller): Promise<readonly SwitchShown[]> => (await controller.ops<{ switches: SwitchShown[] }>("GET", "/switches")).body.switches;

/** Of these hosts those that have not one of `live` as their master, which has brought them all that they should have, and the others as slaves; a line each. */
export async function unsettled(systemIds: readonly string[], live: readonly Controller[]): Promise<readonly string[]> {
  const seen = await Promise.all(live.map(async (controller) => ({ name: controller.name, shown: await switchesOf(controller).catch(() => []) })));
  return systemIds.flatMap((systemId) => {
    const at = seen.flatMap(({ name, shown }) => shown.filter(({ id }) => id === systemId).map((one) => ({ name, ...one })));
    const own = at.filter(({ role }) => role === "master");
    const whole = own.length === 1 && own[0]!.state === "connected" && own[0]!.flows.pending === 0 && own[0]!.flows.installed === own[0]!.flows.desired;
    return whole && at.length === live.length && at.every((one) => one === own[0] || one.role === "slave") ? [] : [`${systemId} (${at.map((one) => `${one.name}: ${one.role}, ${one.state}`).join("; ")})`];
  });
}
