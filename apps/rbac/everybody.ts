// `shared` of a resource that may be given: it is a policy for every project, and shown to whom any policy covers.
import { ACCESS_AS_SHARED, EVERYBODY, type AnyExtension, type ApiContext, type Attribute, type Shareable, type StandardRow, type Tx } from "#app";
import { grant, isGranted, policyOf, type RbacPolicy } from "./model.ts";

function shareWithAll(tx: Tx, type: string, row: StandardRow): void {
  if (policyOf(tx, type, row.id, ACCESS_AS_SHARED, EVERYBODY) === undefined) grant(tx, type, row, ACCESS_AS_SHARED, EVERYBODY);
}

/** The attribute `shared`, and what becomes of it. `type`: of the row for policies; `lose`: takes a policy away, or refuses. */
export function shared(type: string, { shownBy, givenBy, unshared }: Partial<Shareable>, lose: (tx: Tx, ctx: ApiContext, policy: RbacPolicy) => void): AnyExtension {
  if (shownBy === undefined) return {};
  const about: Attribute = { type: "boolean", about: "Whether it is shared with the caller's project.", filter: true, alias: shownBy };
  const present: AnyExtension["present"] = (view, row: StandardRow, caller) => ({ shared: isGranted(view, type, row.id, ACCESS_AS_SHARED, caller.projectId) });
  if (givenBy === undefined) return { attributes: { shared: about }, present };
  return {
    attributes: { shared: { ...about, about: "Given: whether every project may use it. Shown: whether the caller's may.", post: true, put: unshared !== undefined, default: false, sort: true, policy: { create: givenBy, update: givenBy } } },
    create(tx, row: StandardRow, input) {
      if (input.shared === true) shareWithAll(tx, type, row);
    },
    update(tx, row: StandardRow, changes, ctx) {
      if (changes.shared === true) shareWithAll(tx, type, row);
      if (changes.shared !== false) return;
      const policy = policyOf(tx, type, row.id, ACCESS_AS_SHARED, EVERYBODY);
      if (policy === undefined) return;
      if (unshared !== "back") throw unshared!(row);
      lose(tx, ctx, policy);
    },
    present,
  };
}
