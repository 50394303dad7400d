// `shared` of a resource that may be given: it is a policy for every project, and shown to whom any policy covers.
import { ACCESS_AS_SHARED, EVERYBODY, type AnyExtension, type Attribute, type Shareable, type StandardRow, type Tx } from "#app";
import { grant, isGranted, policyOf } from "./model.ts";

function shareWithAll(tx: Tx, name: string, row: StandardRow): void {
  if (policyOf(tx, name, row.id, ACCESS_AS_SHARED, EVERYBODY) === undefined) grant(tx, name, row, ACCESS_AS_SHARED, EVERYBODY);
}

/** The attribute `shared`, and what becomes of it. */
export function shared(name: string, { shownBy, givenBy, unshared }: Partial<Shareable> = {}): AnyExtension {
  if (shownBy === undefined) return {};
  const about: Attribute = { type: "boolean", about: "Whether it is shared with the caller's project.", filter: true, alias: shownBy };
  const present: AnyExtension["present"] = (view, row: StandardRow, caller) => ({ shared: isGranted(view, name, row.id, ACCESS_AS_SHARED, caller.projectId) });
  if (givenBy === undefined) return { attributes: { shared: about }, present };
  return {
    attributes: { shared: { ...about, about: "Given: whether every project may use it. Shown: whether the caller's may.", post: true, put: unshared !== undefined, default: false, sort: true, policy: { create: givenBy, update: givenBy } } },
    create(tx, row: StandardRow, input) {
      if (input.shared === true) shareWithAll(tx, name, row);
    },
    update(tx, row: StandardRow, changes) {
      if (changes.shared === true) shareWithAll(tx, name, row);
      else if (changes.shared === false && policyOf(tx, name, row.id, ACCESS_AS_SHARED, EVERYBODY) !== undefined) throw unshared!(row);
    },
    present,
  };
}
