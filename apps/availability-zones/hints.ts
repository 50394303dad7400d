// Zones that a resource is wished in when it is made, and those in which it is.
import { chassisTable, defineTable, extendResource, notFound, reference, show, zoneOf, type App, type Check, type LiveView, type ReadView, type ResourceHandle, type Row, type StandardRow, type Table } from "#app";
import { zonedHostTable } from "./zones.ts";

/** Zones that were asked for. `id` is the resource's; without any there is no row. */
export interface ZoneHints extends Row {
  readonly hints: readonly string[];
}
export const zoneHintsTable = (resource: string): Table<ZoneHints> => defineTable<ZoneHints>()(`${resource}_zone_hints`);

const HINTS: Check = { list: { type: "string", blank: false }, unique: true, max: 16 };

/**
 * Hosts are what is asked for zones: a transaction does not see who serves what in them (`zoned_host`), which follows from that.
 * @throws ApiError 404 naming a zone in which no host is
 */
function checkHints(view: ReadView, hints: readonly string[]): void {
  const unknown = hints.find((zone) => view.count(chassisTable, "zone", zone) === 0);
  if (unknown !== undefined) throw notFound("AvailabilityZoneNotFound", `AvailabilityZone ${show(unknown)} could not be found.`);
}

/** Zones of hosts, in order. Hosts are looked at until there is none but what was found, which are few as a rule. */
function zonesOf(view: ReadView, resource: string, hosts: Iterable<string>): string[] {
  const all = view.pairKeys(zonedHostTable, "zones", resource).length;
  const found = new Set<string>();
  for (const id of hosts) {
    const chassis = view.get(chassisTable, id);
    if (chassis !== undefined && found.add(zoneOf(chassis)).size === all) break;
  }
  return [...found].sort();
}

export interface Hinted<R extends StandardRow> {
  readonly resource: ResourceHandle<R>;
  readonly table: Table<R>;
  readonly hints: Table<ZoneHints>;
  readonly about: { readonly hints: string; readonly zones: string };
  readonly alias: string;
  /** Hosts that a row is at; one may come several times. */
  readonly hostsOf: (view: LiveView, id: string) => Iterable<string>;
}

/** `availability_zone_hints` and `availability_zones` of a resource. */
export function hinted<R extends StandardRow>({ resource, table, hints: hintsTable, about, alias, hostsOf }: Hinted<R>): Required<Pick<App, "extend" | "references">> {
  const ofResource = extendResource<StandardRow>(resource, {
    attributes: {
      availability_zone_hints: { type: "string[]", about: about.hints, post: true, default: [], check: HINTS, alias },
      availability_zones: { type: "string[]", about: about.zones, alias },
    },
    create(tx, { id }, input) {
      const hints = (input.availability_zone_hints as readonly string[] | undefined) ?? [];
      checkHints(tx, hints);
      if (hints.length > 0) tx.put(hintsTable, { id, hints });
    },
    remove: (tx, { id }) => tx.delete(hintsTable, id),
    present: (view, { id }) => ({ availability_zone_hints: view.get(hintsTable, id)?.hints ?? [], availability_zones: zonesOf(view, resource.name, hostsOf(view, id)) }),
  });
  return { extend: [ofResource], references: [reference(hintsTable, { to: table, ids: (h) => h.id, gone: (tx, h) => tx.delete(hintsTable, h.id) })] };
}
