// UUIDs that follow from a name.
import { createHash } from "node:crypto";

/** UUID of version 5: the same for a namespace and a name whenever it is asked. `namespace`: 32 hex digits. RFC 4122 section 4.3. */
export function nameUuid(namespace: string, name: string): string {
  const bytes = createHash("sha1").update(Buffer.from(namespace, "hex")).update(name).digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x50;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
