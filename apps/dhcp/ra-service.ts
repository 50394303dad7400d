// Router advertisements that nobody asked for (RFC 4861 section 6.2.4), so that a VM which never solicits has its routers, and no route
// ends that should not. Each network has a timer of its own at random intervals: routers do not speak in step, nor all at once.
import type { Cancel, LiveView, RowChange, ServiceDecl, StageOut } from "#app";
import { addressTable, attachmentTable, networkTable, toPort, type Address } from "../l2/model.ts";
import { routerInterfaceTable, routerTable } from "../l3/model.ts";
import { subnetTable, type Subnet } from "../ipam/model.ts";
import { tenantMtu } from "../overlay/model.ts";
import { advertisements, allNodes, RA_PERIOD_S } from "./ra.ts";

/** MinRtrAdvInterval, RFC 4861 section 6.2.1; RA_PERIOD_S is MaxRtrAdvInterval. */
const RA_PERIOD_MIN_S = 0.33 * RA_PERIOD_S;
/** Router constants of RFC 4861 section 10. */
const INITIAL_INTERVAL_S = 16;
const INITIAL_ADVERTISEMENTS = 3;
const MIN_DELAY_S = 3;

/** One advertisement of every router of a network, to each attached port of chassis that `masters`. */
export function unasked(view: LiveView, networkId: string, masters: (chassis: string) => boolean): StageOut[] {
  const frames = advertisements(view, networkId, allNodes, tenantMtu(view));
  if (frames.length === 0) return [];
  return view.by(attachmentTable, "network", networkId).filter((at) => masters(at.chassis)).flatMap((at) => frames.map((data) => toPort(at.chassis, at.net_key, at.port_key, data)));
}

interface Speaker {
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
    const { view, clock, random } = host;
    const speakers = new Map<string, Speaker>();
    const between = (low: number, high: number): number => low + random.next() * (high - low);

    const schedule = (network: string, speaker: Speaker, seconds: number): void => {
      speaker.cancel();
      speaker.dueMs = clock.monotonic() + seconds * 1000;
      speaker.cancel = host.after(seconds, () => speak(network, speaker));
    };
    const speak = (network: string, speaker: Speaker): void => {
      if (!speaks(view, network)) {
        speakers.delete(network);
        return;
      }
      if (speaker.initial > 0) speaker.initial--;
      speaker.sentMs = clock.monotonic();
      schedule(network, speaker, speaker.initial > 0 ? between(MIN_DELAY_S, INITIAL_INTERVAL_S) : between(RA_PERIOD_MIN_S, RA_PERIOD_S));
      host.send(unasked(view, network, (chassis) => host.masters(chassis)));
    };
    /** What the network's routers say is new: they say it soon, and a few times. */
    const news = (network: string): void => {
      let speaker = speakers.get(network);
      if (!speaks(view, network)) {
        speaker?.cancel();
        speakers.delete(network);
        return;
      }
      if (speaker === undefined) speakers.set(network, (speaker = { initial: 0, sentMs: -Infinity, dueMs: Infinity, cancel: () => undefined }));
      speaker.initial = INITIAL_ADVERTISEMENTS;
      const now = clock.monotonic();
      const soon = Math.max(between(0, MIN_DELAY_S), (speaker.sentMs - now) / 1000 + MIN_DELAY_S);
      if (now + soon * 1000 < speaker.dueMs) schedule(network, speaker, soon);
    };

    host.onCommit([subnetTable, routerInterfaceTable, routerTable, networkTable, addressTable], (changes) => {
      for (const network of new Set(changes.flatMap((change) => networksOf(view, change)))) news(network);
    });
    // After a restart nothing is new, but it may have been a long time.
    for (const network of new Set(Array.from(view.all(subnetTable), (s) => (advertises(s) ? s.network_id : "")))) {
      if (network === "" || !speaks(view, network)) continue;
      const speaker: Speaker = { initial: 0, sentMs: -Infinity, dueMs: Infinity, cancel: () => undefined };
      speakers.set(network, speaker);
      schedule(network, speaker, between(0, INITIAL_INTERVAL_S));
    }
    return undefined;
  },
};

const advertises = (subnet: Subnet): boolean => subnet.ipv6_ra_mode !== null;

const speaks = (view: LiveView, network: string): boolean => advertisements(view, network, allNodes, tenantMtu(view)).length > 0;

/** Networks whose advertisements a change may have changed. */
function networksOf(view: LiveView, { table, id, before, after }: RowChange): readonly string[] {
  switch (table) {
    case networkTable:
      return [id];
    case routerTable:
      return view.by(routerInterfaceTable, "router", id).map((i) => i.network_id);
    case addressTable: {
      const address = (after ?? before) as Address;
      return address.family === 6 && view.get(routerInterfaceTable, address.port_id) !== undefined ? [address.network_id] : [];
    }
    case subnetTable:
      return [before, after].flatMap((s) => (s !== undefined && advertises(s as Subnet) ? [(s as Subnet).network_id] : []));
    default:
      return [before, after].flatMap((i) => (i === undefined ? [] : [(i as { readonly network_id?: string }).network_id ?? ""]));
  }
}
