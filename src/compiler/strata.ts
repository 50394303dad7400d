// The order of derivations, from what they declare that they read: a derivation comes after all that fill a table it reads.
import { claimTable, type AnyTable, type App, type Derivation } from "#app";

export interface Derived {
  readonly app: App;
  readonly derivation: Derivation;
  readonly stratum: number;
}

/**
 * All derivations with their strata, 0 first.
 * @throws Error when derivations read each other in a circle, or one fills a table that is not its app's to fill
 */
export function derivations(apps: readonly App[]): Derived[] {
  const owner = new Map<string, App>();
  for (const app of apps) for (const table of app.tables ?? []) owner.set(table.name, app);
  const all = apps.flatMap((app) => (app.derive ?? []).map((derivation) => ({ app, derivation })));
  for (const { app, derivation } of all) checkOwner(app, derivation, owner);
  const into = new Map<string, (typeof all)[number][]>();
  for (const d of all) into.set(d.derivation.into.name, [...(into.get(d.derivation.into.name) ?? []), d]);
  const strata = new Map<Derivation, number>();
  const visit = (d: (typeof all)[number], path: readonly string[]): number => {
    const name = `${d.app.name}/${d.derivation.name}`;
    const known = strata.get(d.derivation);
    if (known !== undefined) return known;
    if (path.includes(name)) throw new Error(`derivations read each other in a circle: ${[...path.slice(path.indexOf(name)), name].join(" -> ")}`);
    let stratum = 0;
    for (const table of sources(d.derivation)) {
      if (!table.derived) continue;
      for (const before of into.get(table.name) ?? []) stratum = Math.max(stratum, visit(before, [...path, name]) + 1);
    }
    strata.set(d.derivation, stratum);
    return stratum;
  };
  return all.map((d) => ({ ...d, stratum: visit(d, []) }));
}

/** Tables that a derivation may read. */
export const sources = (derivation: Derivation): readonly AnyTable[] => [derivation.on.table, ...derivation.reads];

function checkOwner(app: App, { name, into }: Derivation, owners: ReadonlyMap<string, App>): void {
  const owner = owners.get(into.name);
  if (!into.derived) throw new Error(`derivation ${name} of ${app.name} fills ${into.name}, which is a stored table`);
  if (into.name === claimTable.name) return; // the core's own joint
  if (owner === undefined) throw new Error(`derivation ${name} of ${app.name} fills ${into.name}, which no app lists in its tables`);
  if (owner === app) return;
  if (!into.open) throw new Error(`derivation ${name} of ${app.name} fills ${into.name} of ${owner.name}, which is not open to others`);
  if (app.requires?.includes(owner.name) !== true) throw new Error(`derivation ${name} of ${app.name} fills ${into.name} of ${owner.name}, which it does not require`);
}
