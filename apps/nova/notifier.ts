// Events wait in one queue, and go to Nova many in a request, one request at a time, in the order in which they happened. What Nova cannot be told is
// tried again while somebody may wait for it. Of several controllers each hears of every event, and who tells of a server is asked when it is told: what is
// another's is kept as long as it would have waited, so that who takes over from one that ended tells what that one may not have told.
import { learned, momentOf, type FetchAnswer, type ServiceDecl, type ServiceHost } from "#app";
import { inactiveBindingTable, portStatusTable, portTable } from "../l2/model.ts";
import { eventOf, eventsOf, watched, type ServerEvent } from "./events.ts";
import { novaSettings, novaTroubleTable } from "./model.ts";

/** Seconds for which events are gathered: those of one call, and of one switch that confirms. */
const GATHER_S = 0.1;
/** Events of one request. */
const AT_ONCE = 100;
/** Events that wait, and the same of others that are another controller's to tell; what is said of one more is lost, of another's the oldest. */
const QUEUE_MAX = 20_000;
/** Seconds between looks whether what is another's to tell still is. */
const LOOK_S = 5;
/** Nova waits for a port for 300 seconds (`vif_plugging_timeout`): who is told later does not wait any more. */
const LIFE_S = 300;
/** Seconds until the next attempt, doubled up to the second. */
const RETRY_S = [1, 30] as const;
/** A server that has no host yet (422) has one soon. */
const NO_HOST_S = 3;
const NO_HOST_TIMES = 10;

interface Waiting {
  readonly event: ServerEvent;
  /** By the clock's monotonic(). */
  readonly sinceMs: number;
  /** How often the server had no host. */
  readonly times: number;
  /** By the same clock. */
  readonly notBeforeMs: number;
}

export const notifier: ServiceDecl = {
  name: "notifier",
  about: "tells Nova when ports of its servers are plugged, unplugged, changed or deleted",
  start(host) {
    const url = host.view.settings(novaSettings)["nova-url"];
    if (url === undefined) return undefined;
    const queue = new Queue(host, `${url.replace(/\/+$/, "").replace(/(\/v2(\.\d+)?)?$/, "/v2.1")}/os-server-external-events`);
    host.onCommit(watched, (changes) => queue.add(eventsOf(changes, host.view)));
    queue.add([...recentlyPlugged(host)]);
    return undefined;
  },
};

/** Whoever ended before this start may not have told of these; Nova passes over what it does not wait for. */
function* recentlyPlugged({ view, clock }: ServiceHost): Iterable<ServerEvent> {
  for (const port of view.all(portTable)) {
    if (clock.now() - momentOf(port.updated_at) > LIFE_S * 1000 || view.get(portStatusTable, port.id)?.status !== "ACTIVE") continue;
    const event = eventOf(port, "network-vif-plugged");
    if (event !== undefined) yield event;
  }
  for (const { port_id: id, wired_at: wired } of view.all(inactiveBindingTable)) {
    const port = wired === undefined || clock.now() - momentOf(wired) > LIFE_S * 1000 ? undefined : view.get(portTable, id);
    const event = port === undefined ? undefined : eventOf(port, "network-vif-plugged");
    if (event !== undefined) yield event;
  }
}

class Queue {
  private readonly host: ServiceHost;
  private readonly url: string;
  /** By port and name, oldest first: what is said again counts from then. */
  private readonly waiting = new Map<string, Waiting>();
  /** Likewise what another controller tells. */
  private readonly others = new Map<string, Waiting>();
  private awake = false;
  private looking = false;
  private retryS: number = RETRY_S[0];
  private lost = 0;

  constructor(host: ServiceHost, url: string) {
    this.host = host;
    this.url = url;
  }

  add(events: readonly ServerEvent[]): void {
    for (const event of events) this.put({ event, sinceMs: this.host.clock.monotonic(), times: 0, notBeforeMs: 0 });
    if (!this.awake && this.waiting.size > 0) this.wake(GATHER_S);
    this.look();
  }

  private put(entry: Waiting): void {
    const { name, tag, server_uuid } = entry.event;
    // Of a port that was plugged and unplugged meanwhile what it is now.
    const opposite = name === "network-vif-plugged" ? "network-vif-unplugged" : name === "network-vif-unplugged" ? "network-vif-plugged" : undefined;
    const key = `${tag} ${name}`;
    for (const queue of [this.waiting, this.others]) {
      if (opposite !== undefined) queue.delete(`${tag} ${opposite}`);
      queue.delete(key);
    }
    if (!this.host.acts(server_uuid)) {
      if (this.others.size >= QUEUE_MAX) for (const [oldest] of this.others) if (this.others.delete(oldest)) break;
      this.others.set(key, entry);
    } else if (this.waiting.size >= QUEUE_MAX) this.lost++;
    else this.waiting.set(key, entry);
  }

  /** Every few seconds, while there is anything of others: what is no longer theirs waits here, what nobody waits for any more goes. */
  private look(): void {
    if (this.looking || this.others.size === 0) return;
    this.looking = true;
    this.host.after(LOOK_S, () => {
      this.looking = false;
      const since = this.host.clock.monotonic() - LIFE_S * 1000;
      for (const [key, entry] of [...this.others]) {
        if (entry.sinceMs < since) this.others.delete(key);
        else if (this.host.acts(entry.event.server_uuid)) this.put(entry);
      }
      if (!this.awake && this.waiting.size > 0) this.wake(GATHER_S);
      this.look();
    });
  }

  private wake(seconds: number): void {
    this.awake = true;
    this.host.after(seconds, async () => {
      let next: number = RETRY_S[1];
      try {
        next = await this.send();
      } finally {
        this.awake = false;
        if (this.waiting.size > 0) this.wake(next);
      }
    });
  }

  /** Seconds until the next is sent. */
  private async send(): Promise<number> {
    this.expire();
    const now = this.host.clock.monotonic();
    const sent: [string, Waiting][] = [];
    for (const entry of [...this.waiting]) {
      if (entry[1].notBeforeMs > now) continue;
      if (!this.host.acts(entry[1].event.server_uuid)) this.put(entry[1]);
      else if (sent.push(entry) === AT_ONCE) break;
    }
    this.look();
    // All that wait do so for a server that has no host.
    if (sent.length === 0) return NO_HOST_S / 3;
    for (const [key] of sent) this.waiting.delete(key);
    // What is said of these ports meanwhile is in the queue when the answer comes, and newer.
    const entries = sent.map(([, entry]) => entry);
    let answer: FetchAnswer;
    try {
      answer = await this.host.fetch(this.url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ events: entries.map((e) => e.event) }), ownToken: true });
    } catch (error) {
      return this.failed(entries, (error as Error).message);
    }
    if (answer.status === 404 && knowsNone(answer.body)) return this.heard();
    if (answer.status === 400) {
      this.host.log.error({ events: entries.map((e) => e.event), answer: answer.body.toString("utf8", 0, 500) }, "Nova does not understand these events; they are not sent again");
      return this.heard();
    }
    if (answer.status !== 200 && answer.status !== 207) return this.failed(entries, `it answers ${answer.status}`);
    if (answer.status === 207) this.later(entries, homelessOf(answer.body));
    return this.heard();
  }

  private later(entries: readonly Waiting[], homeless: ReadonlySet<string>): void {
    const again = entries.filter(({ event, times }) => homeless.has(`${event.tag} ${event.name}`) && times < NO_HOST_TIMES);
    if (again.length === 0) return;
    const notBeforeMs = this.host.clock.monotonic() + NO_HOST_S * 1000;
    for (const entry of again) this.putBack({ ...entry, times: entry.times + 1, notBeforeMs });
  }

  private heard(): number {
    this.retryS = RETRY_S[0];
    return 0;
  }

  private failed(entries: readonly Waiting[], why: string): number {
    const later = [...this.waiting.values()];
    this.waiting.clear();
    for (const entry of [...entries, ...later]) this.put(entry);
    this.look();
    const wait = this.retryS;
    this.retryS = Math.min(2 * wait, RETRY_S[1]);
    this.host.log.warn({ url: this.url, waiting: this.waiting.size, againS: wait }, `Nova is not told of ports: ${why}`);
    this.host.learn([learned(novaTroubleTable, "nova", { id: "nova", text: why })]);
    return wait;
  }

  /** Unless something newer was said of the port meanwhile. */
  private putBack(entry: Waiting): void {
    const { name, tag } = entry.event;
    const newer = name === "network-changed" ? [name] : (["network-vif-plugged", "network-vif-unplugged", "network-vif-deleted"] as const);
    if (!newer.some((n) => this.waiting.has(`${tag} ${n}`) || this.others.has(`${tag} ${n}`))) this.put(entry);
  }

  private expire(): void {
    const since = this.host.clock.monotonic() - LIFE_S * 1000;
    let expired = 0;
    for (const [key, entry] of this.waiting) if (entry.sinceMs < since && this.waiting.delete(key)) expired++;
    if (expired + this.lost > 0) this.host.log.error({ url: this.url, expired, lost: this.lost }, "events are not sent to Nova: nobody waits for them any more, or too many waited");
    this.lost = 0;
  }
}

/** Whether it is Nova that says so, of these servers: whatever else is at a wrong address answers 404 as well. */
function knowsNone(body: Buffer): boolean {
  return body.includes('"itemNotFound"');
}

/** Events whose server has no host yet, by port and name. */
function homelessOf(body: Buffer): ReadonlySet<string> {
  try {
    const { events } = JSON.parse(body.toString("utf8")) as { events: { name?: unknown; tag?: unknown; code?: unknown }[] };
    return new Set(events.filter((e) => e.code === 422).map((e) => `${String(e.tag)} ${String(e.name)}`));
  } catch {
    return new Set();
  }
}
