// Who a peer is. With TLS its certificate says so: one of its names is the system-id of its host. Without, there is only its
// address: a switch has to come from where its host's database came from.
// eslint-disable-next-line no-restricted-imports -- it reads a certificate: neither time nor chance is taken from it
import { X509Certificate } from "node:crypto";
import { TLSSocket } from "node:tls";
import { formatIp, parseIp } from "../lib/address.ts";

/** A peer's address without its port, and the names that its certificate proves; undefined: it has none, this is plain TCP. */
export interface Identity {
  readonly address: string;
  readonly names: readonly string[] | undefined;
  /** When its certificate ends; undefined: it has none. */
  readonly until?: Date | undefined;
}

/** Under which name all counts that one peer holds, by however many connections and system-ids: what its certificate names, else its place. */
export const holderOf = ({ address, names }: Identity): string =>
  names !== undefined && names.length > 0 ? `certificate ${[...names].sort().join(" ")}` : placeOf(address);

/** Where a peer is, in numbers that it cannot choose: its address, of IPv6 the /64, in which anybody has as many as it likes. As people write it: 2001:db8::/64. */
export function placeOf(address: string): string {
  const ip = parseIp(address.split("%")[0]!);
  return ip?.family === 6 ? `${formatIp({ family: 6, value: (ip.value >> 64n) << 64n })}/64` : address;
}

/**
 * Names in a peer's certificate: common names of the subject, and subjectAltName entries of type DNS and URI. They are compared with
 * a system-id as they are, without wildcards. undefined: not a TLS connection.
 */
export function certificateNames(socket: unknown): readonly string[] | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  const certificate = socket.getPeerCertificate() as { subject?: { CN?: string | string[] }; subjectaltname?: string };
  const common = certificate.subject?.CN ?? [];
  return [...(typeof common === "string" ? [common] : common), ...alternativeNames(certificate.subjectaltname ?? "")];
}

/** Until when a peer's certificate is valid; undefined: not a TLS connection. */
export function certificateUntil(socket: unknown): Date | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  const until = new Date((socket.getPeerCertificate() as { valid_to?: string }).valid_to ?? "");
  return Number.isNaN(until.getTime()) ? undefined : until;
}

/** When a certificate ends, the first of those in a file; undefined: it is none, which who listens with it says. */
export function endOfCertificate(pem: string | Buffer): Date | undefined {
  try {
    return new Date(new X509Certificate(pem).validTo);
  } catch {
    return undefined;
  }
}

/** Node quotes a value as JSON where it has a character that could be taken for the syntax of the list. */
const ALTERNATIVE = /([A-Za-z0-9 ]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/y;

/** DNS and URI entries of a subjectAltName as node:tls prints it. From an entry that cannot be read on, there are none. */
export function alternativeNames(text: string): string[] {
  const names: string[] = [];
  ALTERNATIVE.lastIndex = 0;
  while (ALTERNATIVE.lastIndex < text.length) {
    const match = ALTERNATIVE.exec(text);
    if (match === null) break;
    const [, type, value] = match as unknown as [string, string, string];
    if (type === "DNS" || type === "URI") names.push(value.startsWith('"') ? (JSON.parse(value) as string) : value);
  }
  ALTERNATIVE.lastIndex = 0;
  return names;
}
