// Classless static routes (RFC 3442), options 121 and, before that had a number, Microsoft's 249.

import { numberToIpv4 } from "../wire/address.ts";
import { PacketValueError } from "../wire/errors.ts";
import { ipv4 } from "../wire/form.ts";
import { Reader } from "../wire/reader.ts";

export interface ClasslessRoute {
  /** "10.0.0.0/8"; bits below the prefix are ignored. */
  destination: string;
  /** 0.0.0.0 = on link. */
  nexthop: string;
}

/** Option 121. @throws PacketValueError. RFC 3442 */
export function encodeClasslessRoutes(routes: readonly ClasslessRoute[]): Buffer {
  return Buffer.concat(routes.map(({ destination, nexthop }) => {
    const match = /^([0-9.]+)\/([0-9]{1,2})$/.exec(destination);
    const length = Number(match?.[2] ?? 33);
    if (match === null || length > 32) throw new PacketValueError("an IPv4 prefix", destination);
    const network = Buffer.from(ipv4.write(match[1]!));
    network.writeUInt32BE(maskTo(network.readUInt32BE(), length));
    return Buffer.concat([Buffer.of(length), network.subarray(0, Math.ceil(length / 8)), ipv4.write(nexthop)]);
  }));
}

/** @throws PacketError */
export function decodeClasslessRoutes(data: Uint8Array): ClasslessRoute[] {
  return readClasslessRoutes(new Reader(data));
}

export function readClasslessRoutes(reader: Reader): ClasslessRoute[] {
  const routes: ClasslessRoute[] = [];
  while (reader.left > 0) {
    const length = reader.u8();
    if (length > 32) reader.malformed("prefix length is above 32", 1);
    const network = Buffer.concat([reader.view(Math.ceil(length / 8))], 4).readUInt32BE();
    routes.push({ destination: `${numberToIpv4(maskTo(network, length))}/${length}`, nexthop: reader.ipv4() });
  }
  return routes;
}

function maskTo(address: number, length: number): number {
  return length === 0 ? 0 : ((address >>> (32 - length)) << (32 - length)) >>> 0;
}
