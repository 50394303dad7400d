// Scopes: sets of flows and other outputs that a switch has as a whole or not at all.

declare const scopeBrand: unique symbol;

/**
 * `chassis:<id>` is the root of one switch, `base` is on every switch, the rest belong to the apps that define and include them.
 * What is in a scope is compiled and encoded once for all switches that have it. What a scope is made of is the core's business.
 */
export type Scope = string & { readonly [scopeBrand]: true };

/** Suffix of a scope that stands for one scope per variant of the including chassis, see Emit.variant. */
export const PER_VARIANT = "@";

/** Scopes of one kind, by what they are of: `const lanScope = defineScope("lan")`, `lanScope(network.id)`. */
export function defineScope(kind: string): (...ids: readonly (string | number)[]) => Scope {
  const prefix = `${kind}:`;
  // Nearly all are of one id, and asked for again and again while what is in them is compiled: a name made once is hashed once.
  let lastId: string | number | undefined;
  let last = "" as Scope;
  return (...ids) => {
    if (ids.length !== 1) return (prefix + ids.join("/")) as Scope;
    const [id] = ids;
    if (id !== lastId) {
      last = `${prefix}${id!}` as Scope;
      lastId = id;
    }
    return last;
  };
}

/** Scopes of which a chassis has the one of its own variant: `hostScope(key)` is included, `hostScope(key, variant)` is filled. */
export const defineVariantScope = (kind: string) => (id: string | number, variant = ""): Scope => `${kind}:${id}${PER_VARIANT}${variant}` as Scope;

export const baseScope = "base" as Scope;

const chassisScopes = new Map<string, Scope>();
/** More than a controller has chassis; beyond it names are made again. */
const CHASSIS_SCOPES = 16_384;

/** A system-id may hold any character; one at the end that reads as PER_VARIANT is told from it by the space after it. */
export function chassisScope(chassis: string): Scope {
  let scope = chassisScopes.get(chassis);
  if (scope === undefined) {
    if (chassisScopes.size === CHASSIS_SCOPES) chassisScopes.clear();
    chassisScopes.set(chassis, (scope = `chassis:${chassis}${chassis.endsWith(PER_VARIANT) ? " " : ""}` as Scope));
  }
  return scope;
}
