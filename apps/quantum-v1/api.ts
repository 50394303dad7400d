// The one thing that v1 has and v2.0 has not, as an attribute of ports: the id by which an interface is plugged into one.
import { AUTO, conflict, extendResource, reference, vifTable, type Alias, type ApiContext, type ReadView, type Tx } from "#app";
import { portResource, portTable, type Port } from "../l2/model.ts";
import { quantumAttachmentTable } from "./model.ts";

export const ATTACHMENT = "quantum:attachment";

function attach(tx: Tx, port: Port, given: unknown, ctx: Pick<ApiContext, "caller">): void {
  if (given === undefined) return;
  const id = given as string;
  const [now] = tx.by(quantumAttachmentTable, "port", port.id);
  if (id === (now?.id ?? "")) return;
  if (now !== undefined) tx.delete(quantumAttachmentTable, now.id);
  if (id === "") return;
  const holder = tx.get(quantumAttachmentTable, id)?.port_id ?? (id === port.id ? undefined : tx.get(portTable, id)?.id);
  // An id may be guessed; whose it is is not told to others.
  const isSeen = ctx.caller.admin || (holder !== undefined && tx.get(portTable, holder)?.project_id === ctx.caller.projectId);
  if (holder !== undefined) throw conflict("AlreadyAttached", `Unable to plug the attachment ${id} into port ${port.id}: it is plugged into ${isSeen ? `port ${holder}` : "another port"}`);
  tx.put(quantumAttachmentTable, { id, port_id: port.id });
}

/** What is plugged into a port: what was named, or an interface with the port's own id. */
const plugged = (view: ReadView, { id }: Port): string => view.by(quantumAttachmentTable, "port", id)[0]?.id ?? (view.count(vifTable, "iface_id", id) > 0 ? id : "");

/** OVSDB's text without what no one-line text has. */
const INTERFACE_ID = "[^\\u0000-\\u001f\\u007f\\ud800-\\udfff]*";

const portExtension = extendResource(portResource, {
  attributes: {
    [ATTACHMENT]: {
      type: "string", about: "external_ids:iface-id of the interface that is to be plugged into it, in one port at a time; without one that is the port's own id, which is shown while it is plugged.", post: true, put: true, default: AUTO,
      check: { null: "", else: { type: "string", pattern: INTERFACE_ID, is: "an id of an interface" } }, alias: "quantum-attachment",
    },
  },
  create: (tx, row, input, ctx) => attach(tx, row, input[ATTACHMENT], ctx),
  update: (tx, row, changes, ctx) => attach(tx, row, changes[ATTACHMENT], ctx),
  remove: (tx, row, ctx) => attach(tx, row, "", ctx),
  present: (view, row) => ({ [ATTACHMENT]: plugged(view, row) }),
});

export const extend = [portExtension];
export const references = [reference(quantumAttachmentTable, { to: portTable, ids: (a) => a.port_id, gone: (tx, a) => tx.delete(quantumAttachmentTable, a.id) })];
export const aliases: readonly Alias[] = [
  { alias: "quantum-attachment", name: "Quantum attachment", description: "An interface may be plugged into a port by another id than the port's own, as Quantum v1 does.", updated: "2026-01-01T00:00:00-00:00" },
];
