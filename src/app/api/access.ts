// What RBAC policies may let other projects do with rows of a resource. Who declares the resource says that its rows may be shared
// (`shareable`); other apps may add actions of theirs (`accesses` of an extension). The app of the policies knows none of them by name.
import type { Access, Accesses, AnyExtension, AnyResource } from "./resource.ts";

export const ACCESS_AS_SHARED = "access_as_shared";
/** In place of a project: every one. */
export const EVERYBODY = "*";

const NONE: Accesses = new Map();

/** What policies may be of, for each resource by its name, of these apps. @throws Error naming an access that nobody says all of */
export function accessesOf(apps: readonly { readonly resources?: readonly AnyResource[]; readonly extend?: readonly (AnyExtension & { readonly resource: string })[] }[]): (resource: string) => Accesses {
  const out = new Map<string, Map<string, Access>>();
  for (const { name, shareable } of apps.flatMap((a) => a.resources ?? [])) {
    if (shareable === undefined) continue;
    const { usedBy, kept } = shareable;
    out.set(name, new Map([[ACCESS_AS_SHARED, { relation: `${name}:shared`, usedBy, ...(kept !== undefined && { kept }) }]]));
  }
  const parts = new Map<string, Partial<Access>[]>();
  for (const { resource, accesses } of apps.flatMap((a) => a.extend ?? [])) {
    for (const [action, part] of Object.entries(accesses ?? {})) {
      const key = `${resource} ${action}`;
      parts.set(key, [...(parts.get(key) ?? []), part]);
    }
  }
  for (const [key, list] of parts) {
    const [resource, action] = key.split(" ") as [string, string];
    const { relation, needed, kept } = Object.assign({}, ...list) as Partial<Access>;
    const of = out.get(resource);
    if (of === undefined) throw new Error(`${action} is an access of ${resource}, which is not shareable`);
    if (relation === undefined) throw new Error(`the access ${action} of ${resource} has no relation`);
    of.set(action, {
      relation,
      *usedBy(view, row, sight) {
        for (const part of list) yield* part.usedBy?.(view, row, sight) ?? [];
      },
      ...(needed !== undefined && { needed }),
      ...(kept !== undefined && { kept }),
    });
  }
  return (resource) => out.get(resource) ?? NONE;
}
