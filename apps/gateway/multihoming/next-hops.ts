// Next hops outside of which several are used side by side: one that does not answer is left out until it answers again. What is known of one is
// stored, so that it stays as it is while nobody asks: without a controller, and where no host of a gateway is there to ask.
import type { ReadView, ServiceHost } from "#app";
import { deadNextHopTable, routeTable, type DeadNextHop, type Route } from "../../l3/model.ts";
import type { GatewayPlan } from "../model.ts";

/** Seconds until one that answered, or did not, is asked again. */
export const WATCH_S = 2;
/** Times in a row that one that was dead has to answer: one that comes and goes is not used. */
const RECOVERED = 3;
/** Of one network. */
const WATCHED_MAX = 256;

/** Next hops by the gateways of a network that are not their route's only one. */
export function sharedHops(view: ReadView, plans: readonly GatewayPlan[]): Set<string> {
  const hops = new Set<string>();
  for (const { router_id, network_id } of new Map(plans.map((plan) => [plan.router_id, plan])).values()) {
    const equal = new Map<string, Route[]>();
    for (const route of view.by(routeTable, "router", router_id)) {
      if (route.nexthop === null) continue;
      const key = `${route.destination} ${route.source} ${route.metric}`;
      const others = equal.get(key);
      if (others === undefined) equal.set(key, [route]);
      else others.push(route);
    }
    for (const routes of equal.values()) {
      if (routes.length < 2) continue;
      for (const { via, nexthop } of routes) if (via === network_id && nexthop !== null && hops.size < WATCHED_MAX) hops.add(nexthop);
    }
  }
  return hops;
}

export class NextHopWatch {
  private readonly host: ServiceHost;
  /** By id, as of the last round. */
  private watched = new Map<string, Pick<DeadNextHop, "network_id" | "ip">>();
  /** Times that those that are dead answered in a row. */
  private readonly answers = new Map<string, number>();
  private readonly changed = new Map<string, DeadNextHop | undefined>();

  constructor(host: ServiceHost) {
    this.host = host;
  }

  has(id: string): boolean {
    return this.watched.has(id);
  }

  /** Those that are watched from now on; others are not known to be dead any more. */
  round(watched: Map<string, Pick<DeadNextHop, "network_id" | "ip">>): void {
    this.watched = watched;
    for (const id of this.answers.keys()) if (!watched.has(id)) this.answers.delete(id);
    for (const { id } of this.host.view.by(deadNextHopTable, "all", "")) if (!watched.has(id) && this.host.acts(id)) this.changed.set(id, undefined);
  }

  /** It answered when it was asked. */
  answered(id: string): void {
    if (!this.watched.has(id) || this.host.view.get(deadNextHopTable, id) === undefined) return;
    const times = (this.answers.get(id) ?? 0) + 1;
    if (times < RECOVERED) this.answers.set(id, times);
    else {
      this.answers.delete(id);
      this.changed.set(id, undefined);
    }
  }

  /** It answered none of the questions. */
  missed(id: string): void {
    this.answers.delete(id);
    const hop = this.watched.get(id);
    if (hop !== undefined && this.host.view.get(deadNextHopTable, id) === undefined) this.changed.set(id, { id, ...hop });
  }

  async store(): Promise<void> {
    if (this.changed.size === 0) return;
    const changes = [...this.changed];
    this.changed.clear();
    await this.host.transact("next hops outside that answer, or do not", (tx) => {
      for (const [id, row] of changes) {
        if (row === undefined) tx.delete(deadNextHopTable, id);
        else tx.put(deadNextHopTable, row);
      }
    });
  }
}
