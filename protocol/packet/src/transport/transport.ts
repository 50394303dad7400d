// What UDP, TCP and ICMPv6 need of the IP header they travel in. `checksumOk` is reported and never enforced: a guest's NIC
// may leave the checksum to hardware, and a packet cut short cannot be judged (undefined).

import { checksum, pseudoHeaderSum } from "../wire/checksum.ts";
import type { Endpoints } from "../wire/checksum.ts";

/** What the IP header contributes: addresses, and whether all bytes of this one packet are here. */
export interface Carrier extends Endpoints {
  complete: boolean;
}

/** true or false, or undefined when the bytes at hand cannot tell. */
export function checkTransport(bytes: Buffer, protocol: number, carrier: Carrier | undefined): boolean | undefined {
  if (carrier?.complete !== true) return undefined;
  return checksum(bytes, pseudoHeaderSum(carrier, protocol, bytes.length)) === 0;
}
