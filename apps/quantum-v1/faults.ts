// Refusals as v1 says them: 1.0 has a status and a key of its own for each, 1.1 HTTP's statuses and one envelope.
import type { FaceAnswer, FaceRefusal } from "#app";
import { contentTypes, type Format } from "./format.ts";
import { escapeXml } from "./xml.ts";

export interface Version {
  readonly id: "v1.0" | "v1.1";
  readonly status: "DEPRECATED" | "SUPPORTED";
  readonly namespace: string;
  /** Shows op-status. */
  readonly opStatus: boolean;
  /** Of a creation. */
  readonly created: number;
}

/** By the refusal's type, which is the name in 1.1 too. */
const faults = new Map<string, { readonly status: number; readonly key: string; readonly standard: number; readonly message: string }>([
  ["NetworkNotFound", { status: 420, key: "networkNotFound", standard: 404, message: "Unable to find a network with the specified identifier." }],
  ["NetworkInUse", { status: 421, key: "networkInUse", standard: 409, message: "Unable to remove the network: attachments still plugged." }],
  ["PortNotFound", { status: 430, key: "portNotFound", standard: 404, message: "Unable to find a port with the specified identifier." }],
  ["RequestedStateInvalid", { status: 431, key: "requestedStateInvalid", standard: 400, message: "Unable to update port state with specified value." }],
  ["PortInUse", { status: 432, key: "portInUse", standard: 409, message: "A resource is currently attached to the logical port" }],
  ["AlreadyAttached", { status: 440, key: "alreadyAttached", standard: 409, message: "The resource is already attached to another port" }],
]);
const MALFORMED = "The server could not comply with the request since it is either malformed or otherwise incorrect.";
const generalKeys: Readonly<Record<number, string>> = { 400: "malformedRequest", 401: "unauthorized" };

/** The type of a path or method that is not routed: HTTP's own 404, and no fault. */
export const NO_ROUTE = "HTTPNotFound";

export function faultAnswer({ status, type, message: detail }: FaceRefusal, version: Version, format: Format): FaceAnswer {
  if (type === NO_ROUTE) return { status: 404, contentType: "text/plain; charset=utf-8", body: "404 Not Found\n\nThe resource could not be found.\n" };
  const known = faults.get(type);
  const message = known?.message ?? (status === 400 ? MALFORMED : "The request failed.");
  const texts = `<message>${escapeXml(message)}</message><detail>${escapeXml(detail)}</detail>`;
  const contentType = contentTypes[format];
  if (version.id === "v1.0") {
    const code = known?.status ?? status;
    const key = known?.key ?? generalKeys[status] ?? "quantumServiceFault";
    const body = format === "xml" ? `<${key} xmlns="${version.namespace}" code="${code}">${texts}</${key}>` : JSON.stringify({ [key]: { code, message, detail } });
    return { status: code, ...(known === undefined ? {} : { reason: key }), contentType, body };
  }
  const name = known === undefined && status === 400 ? "QuantumServiceFault" : type;
  const body = format === "xml" ? `<QuantumError xmlns="${version.namespace}"><type>${escapeXml(name)}</type>${texts}</QuantumError>` : JSON.stringify({ QuantumError: { type: name, message, detail } });
  return { status: known?.standard ?? status, contentType, body };
}
