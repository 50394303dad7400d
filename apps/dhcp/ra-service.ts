// Router advertisements that nobody asked for (RFC 4861 section 6.2.4), so that a VM which never solicits has its routers, and no route
// ends that should not. Each router interface has a timer of its own at random intervals: routers do not speak in step, nor all at once.
// What is new is said soon and three times: what an interface says now, prefixes that are over, and of one that ends that it is no
// router any more. A port that comes hears three times of the routers that are there.
import { Shares, type Cancel, type LiveView, type RowChange, type ServiceDecl, type ServiceHost, type StageOut } from "#app";
import { addressTable, attachmentTable, networkTable, portTable, toAllPorts, toMachines, toPort, type Address, type Attachment } from "../l2/model.ts";
import { legTable, routerInterfaceTable, routerTable, type RouterInterface } from "../l3/model.ts";
import { subnetTable, type Subnet } from "../ipam/model.ts";
import { dhcpSettings } from "./model.ts";
import { advertisementOf, advertisements, allNodes, farewell, frameOf, interfacesOf, SaidBefore, withEnded, type Advertisement } from "./ra.ts";

/** Router constants of RFC 4861 section 10: MAX_INITIAL_RTR_ADVERT_INTERVAL, MAX_INITIAL_ and MAX_FINAL_RTR_ADVERTISEMENTS, MIN_DELAY_BETWEEN_RAS, MAX_RA_DELAY_TIME. */
const INITIAL_INTERVAL_S = 16;
const INITIAL_ADVERTISEMENTS = 3;
const MIN_DELAY_S = 3;
const MAX_DELAY_S = 0.5;
/** MinRtrAdvInterval, as a part of MaxRtrAdvInterval. */
const MIN_PART = 0.33;
/** Seconds after which a port that came hears of its routers: its flows are there. */
const NEWCOMER_DELAY_S = 1;
/** Ports that came and are still told, each project its share; those above hear what all hear. */
const NEWCOMERS_MAX = 10_000;

/** A frame to each attached port of a network, at chassis that this controller masters: one packet for each chassis. */
function toNetwork(host: ServiceHost, networkId: string, data: Uint8Array): StageOut[] {
  const key = host.view.get(networkTable, networkId)?.key;
  return key === undefined ? [] : [...host.view.pairKeys(attachmentTable, "network_chassis", networkId)].filter((id) => host.masters(id)).map((id) => toAllPorts(id, key, data));
}

/** Where a router's words go out to machines on the physical network of its interface: by one of the hosts that may answer for it there. */
interface Machines {
  readonly hosts: readonly string[];
  readonly router: number;
}
function machinesOf(view: LiveView, networkId: string, { mac }: Advertisement): Machines | undefined {
  const leg = view.by(legTable, "network", networkId).find((l) => l.tells === true && l.mac === mac);
  const router = leg === undefined ? undefined : view.get(routerTable, leg.router_id);
  return leg?.at === undefined || router === undefined ? undefined : { hosts: leg.at, router: router.key };
}

interface Speaker {
  readonly id: string;
  readonly network: string;
  /** What the interface says; its last words while it ends. */
  said: Advertisement;
  ending: boolean;
  /** As it was when it said something last: it takes its leave of them too. */
  machines: Machines | undefined;
  /** What it said and does not say now, while `initial` lasts. */
  readonly before: SaidBefore;
  /** Advertisements at the short interval that are still to come. */
  initial: number;
  sentMs: number;
  dueMs: number;
  cancel: Cancel;
}

export const routerAdvertisements: ServiceDecl = {
  name: "router-advertisement",
  about: "unasked router advertisements on every network with a router that advertises itself",
  start(host) {
    const speakers = new Speakers(host);
    const newcomers = new Newcomers(host);
    host.onCommit([subnetTable, routerInterfaceTable, routerTable, networkTable, portTable, addressTable, attachmentTable], (changes) => {
      for (const network of new Set(changes.flatMap((change) => networksOf(host.view, change)))) speakers.look(network);
      for (const { table, before, after } of changes) if (table === attachmentTable && after !== undefined) newcomers.look(before as Attachment | undefined, after as Attachment);
    });
    // After a restart nothing is new, but it may have been a long time.
    for (const { id } of host.view.all(routerInterfaceTable)) speakers.resume(id);
    return undefined;
  },
};

/** The interfaces that speak, and those that have just ended. */
class Speakers {
  private readonly host: ServiceHost;
  private readonly byId = new Map<string, Speaker>();
  private readonly byNetwork = new Map<string, Set<string>>();

  constructor(host: ServiceHost) {
    this.host = host;
  }

  /** Something on a network changed. */
  look(network: string): void {
    for (const id of new Set([...interfacesOf(this.host.view, network), ...(this.byNetwork.get(network) ?? [])])) this.judge(id, network);
  }

  /** An interface that was there before this controller started. */
  resume(id: string): void {
    const said = advertisementOf(this.host.view, id);
    const network = this.host.view.get(routerInterfaceTable, id)?.network_id;
    if (said === undefined || network === undefined) return;
    this.schedule(this.add(id, network, said), this.between(0, INITIAL_INTERVAL_S));
  }

  private judge(id: string, network: string): void {
    const { view } = this.host;
    const there = view.get(routerInterfaceTable, id)?.network_id === network;
    const now = there ? advertisementOf(view, id) : undefined;
    let speaker = this.byId.get(id);
    if (speaker !== undefined && speaker.network === network && now !== undefined && now.mac !== speaker.said.mac) {
      // Another MAC is another router.
      this.say(speaker, farewell(view, network, speaker.said));
      this.drop(speaker);
      speaker = undefined;
    }
    if (speaker === undefined) {
      if (now !== undefined) this.news(this.add(id, network, now));
      return;
    }
    if (now === undefined) {
      if (speaker.ending) return;
      speaker.ending = true;
      this.news(speaker);
      return;
    }
    if (!speaker.ending && JSON.stringify(now) === JSON.stringify(speaker.said)) return;
    speaker.before.changed(speaker.said.ra, now.ra);
    speaker.ending = false;
    speaker.said = now;
    this.news(speaker);
  }

  /** It is said soon, and a few times. */
  private news(speaker: Speaker): void {
    speaker.initial = INITIAL_ADVERTISEMENTS;
    const now = this.host.clock.monotonic();
    const soon = Math.max(this.between(0, MAX_DELAY_S), (speaker.sentMs - now) / 1000 + MIN_DELAY_S);
    if (now + soon * 1000 < speaker.dueMs) this.schedule(speaker, soon);
  }

  private schedule(speaker: Speaker, seconds: number): void {
    speaker.cancel();
    speaker.dueMs = this.host.clock.monotonic() + seconds * 1000;
    speaker.cancel = this.host.after(seconds, () => this.speak(speaker));
  }

  private speak(speaker: Speaker): void {
    const { view } = this.host;
    const words = speaker.ending ? farewell(view, speaker.network, speaker.said) : withEnded(view, speaker.network, speaker.said, speaker.before);
    if (speaker.initial > 0) speaker.initial--;
    if (speaker.initial === 0) speaker.before.clear();
    if (speaker.initial === 0 && speaker.ending) this.drop(speaker);
    else {
      const max = view.settings(dhcpSettings)["ra-interval"];
      this.schedule(speaker, speaker.initial > 0 ? this.between(MIN_DELAY_S, Math.min(INITIAL_INTERVAL_S, Math.max(max, MIN_DELAY_S))) : this.between(MIN_PART * max, max));
    }
    speaker.sentMs = this.host.clock.monotonic();
    this.say(speaker, words);
  }

  private say(speaker: Speaker, words: Advertisement): void {
    const frame = frameOf(words, allNodes);
    this.host.send(toNetwork(this.host, speaker.network, frame));
    speaker.machines = machinesOf(this.host.view, speaker.network, speaker.said) ?? speaker.machines;
    const at = speaker.machines?.hosts.find((id) => this.host.synced(id) !== undefined && this.host.masters(id));
    const key = this.host.view.get(networkTable, speaker.network)?.key;
    if (at !== undefined && key !== undefined) this.host.send([toMachines(at, key, speaker.machines!.router, frame)]);
  }

  private add(id: string, network: string, said: Advertisement): Speaker {
    const speaker: Speaker = { id, network, said, ending: false, machines: undefined, before: new SaidBefore(), initial: 0, sentMs: -Infinity, dueMs: Infinity, cancel: () => undefined };
    this.byId.set(id, speaker);
    const there = this.byNetwork.get(network) ?? new Set();
    this.byNetwork.set(network, there.add(id));
    return speaker;
  }

  private drop({ id, network, cancel }: Speaker): void {
    cancel();
    this.byId.delete(id);
    const there = this.byNetwork.get(network);
    if (there?.delete(id) === true && there.size === 0) this.byNetwork.delete(network);
  }

  private between(low: number, high: number): number {
    return low + this.host.random.next() * (high - low);
  }
}

/** Ports that came, and are told of the routers that are there: alone, so that a thousand that come are no thousand advertisements to each. */
class Newcomers {
  private readonly host: ServiceHost;
  /** What takes back that a port is told, by its project. */
  private readonly waiting = new Shares<Cancel>(NEWCOMERS_MAX);

  constructor(host: ServiceHost) {
    this.host = host;
  }

  look(before: Attachment | undefined, after: Attachment): void {
    if (before !== undefined && before.chassis === after.chassis && before.ofport === after.ofport && before.net_key === after.net_key) return;
    const project = this.host.view.get(portTable, after.port_id)?.project_id ?? "";
    if (this.waiting.has(after.id) || !this.waiting.admits(project) || advertisements(this.host.view, after.network_id, allNodes).length === 0) return;
    const gone = this.waiting.put(after.id, project, this.tell(after.id));
    gone?.[1]();
  }

  private tell(id: string): Cancel {
    let cancel: Cancel;
    const wait = (times: number, seconds: number): void => {
      cancel = this.host.after(seconds, () => {
        const at = this.host.view.get(attachmentTable, id);
        if (times <= 1 || at === undefined) this.waiting.delete(id);
        else wait(times - 1, MIN_DELAY_S + this.host.random.next() * (INITIAL_INTERVAL_S - MIN_DELAY_S));
        if (at === undefined || !this.host.masters(at.chassis)) return;
        this.host.send(advertisements(this.host.view, at.network_id, allNodes).map((data) => toPort(at.chassis, at.net_key, at.port_key, data)));
      });
    };
    wait(INITIAL_ADVERTISEMENTS, NEWCOMER_DELAY_S);
    return () => cancel();
  }
}

const advertises = (subnet: Subnet): boolean => subnet.ipv6_ra_mode !== null;

/** Networks whose advertisements a change may have changed. */
function networksOf(view: LiveView, { table, id, before, after }: RowChange): readonly string[] {
  switch (table) {
    case networkTable:
      return [id];
    case routerTable:
      return view.by(routerInterfaceTable, "router", id).map((i) => i.network_id);
    case portTable: {
      const leg = view.get(routerInterfaceTable, id);
      return leg === undefined ? [] : [leg.network_id];
    }
    case addressTable:
      // Of an interface that is gone already, the interface's own change tells.
      return [before, after].flatMap((a) => (a !== undefined && (a as Address).family === 6 && view.get(routerInterfaceTable, (a as Address).port_id) !== undefined ? [(a as Address).network_id] : []));
    case subnetTable:
      return [before, after].flatMap((s) => (s !== undefined && advertises(s as Subnet) ? [(s as Subnet).network_id] : []));
    case routerInterfaceTable:
      return [before, after].flatMap((i) => (i === undefined ? [] : [(i as RouterInterface).network_id]));
    default:
      return [];
  }
}
