// The attribute hints of ports.
import { extendResource, orNull, reference, type Alias, type Check, type Tx } from "#app";
import { portResource, portTable } from "../l2/model.ts";
import { portHintsTable, type Hints } from "./model.ts";

const ADMIN = "rule:admin_only";
const OTHER_CONFIG: Check = { dict: { "tx-steering": { check: { enum: ["thread", "hash"] } } } };
const HINTS: Check = { dict: { openvswitch: { check: { dict: { other_config: { check: OTHER_CONFIG } } } } } };

function keep(tx: Tx, id: string, hints: Hints | null | undefined): void {
  if (hints === undefined) return;
  if (hints !== null) tx.put(portHintsTable, { id, hints });
  else if (tx.get(portHintsTable, id) !== undefined) tx.delete(portHintsTable, id);
}

const ofPort = extendResource(portResource, {
  attributes: {
    hints: {
      type: "object", about: "Keys of other_config of its interface in Open vSwitch: `{\"openvswitch\": {\"other_config\": {\"tx-steering\": \"hash\"}}}`, or thread; null: none.", post: true, put: true, default: null, check: orNull(HINTS), alias: "port-hints",
      policy: { create: ADMIN, get: ADMIN, update: ADMIN },
    },
  },
  create: (tx, row, input) => keep(tx, row.id, input.hints as Hints | null | undefined),
  update: (tx, row, changes) => keep(tx, row.id, changes.hints as Hints | null | undefined),
  remove: (tx, row) => keep(tx, row.id, null),
  present: (view, { id }) => ({ hints: view.get(portHintsTable, id)?.hints ?? null }),
});

export const extend = [ofPort];
export const references = [reference(portHintsTable, { to: portTable, ids: (h) => h.id, gone: (tx, h) => tx.delete(portHintsTable, h.id) })];
export const aliases: readonly Alias[] = [
  { alias: "port-hints", name: "Port hints", description: "What administrators say of how ports are carried on their hosts.", updated: "2023-01-01T00:00:00-00:00" },
  { alias: "port-hint-ovs-tx-steering", name: "Port hint: Open vSwitch Tx steering", description: "How packets to a port are spread over its queues.", updated: "2023-01-01T00:00:00-00:00" },
];
