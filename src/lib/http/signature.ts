// What proves that a message comes from one who knows a secret.
import { createHmac } from "node:crypto";

/** HMAC with SHA-256, as hex digits in lower case. RFC 2104 */
export const hmacSha256 = (key: Uint8Array, text: string): string => createHmac("sha256", key).update(text).digest("hex");
