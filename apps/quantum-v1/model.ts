// Which interface is plugged into a port as Quantum v1 has it: by an id that the caller chose, and not by the port's own.
import { defineTable, type Row } from "#app";

/** `id` is the attachment's: external_ids:iface-id of the interface. An interface is in one port at a time, a port has one. */
export interface QuantumAttachment extends Row {
  readonly port_id: string;
}
export const quantumAttachmentTable = defineTable<QuantumAttachment>()("quantum_attachment", { indexes: { port: (a) => a.port_id } });
