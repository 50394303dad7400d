// Where metadata comes from, where machines ask for it, and who is asked about.
import { defineSettings, defineSoftTable, defineTable, meterOfZone, zoneMeters, type HttpAnswer, type ReadView, type Row } from "#app";
import { subnetTable } from "../ipam/model.ts";
import { faultOf } from "./given.ts";

/** What a file may not be that holds a secret. */
const secretFault = (value: Buffer): string | undefined => (value.toString().trim() === "" ? "is of a file without a secret in it" : undefined);

export const metadataSettings = defineSettings({
  "nova-metadata-url": { kind: "url", about: "Nova's metadata API, which machines are given answers of at 169.254.169.254 and fe80::a9fe:a9fe" },
  "metadata-secret-file": { kind: "file", check: secretFault, about: "file with the secret that Nova shares (metadata_proxy_shared_secret), by which it believes whose machine asks" },
  "metadata-file": {
    kind: "file", check: (value: Buffer) => faultOf(value.toString()),
    about: "JSON file with keys and user data for machines, where there is no Nova: answers at 169.254.169.254 and fe80::a9fe:a9fe come from it and from the model; {}: from the model alone",
  },
});

/**
 * Where machines ask: on the link of every network, so that it is the same for all and never a tenant's. What is sent there is taken off at the sender's own switch,
 * whichever router it was given to. RFC 3927 section 2.8, RFC 4291 section 2.5.6
 */
export const SERVICE = { ipv4: "169.254.169.254", ipv6: "fe80::a9fe:a9fe", mac: "fe:ff:ff:ff:ff:03", port: 80 } as const;

/** Whoever answers. */
export const notFound: HttpAnswer = { status: 404, body: "404 Not Found: the resource could not be found.\n" };

/** Who answers; undefined: nobody, and no flow is there. */
export function sourceOf(view: ReadView): "nova" | "model" | undefined {
  const { "nova-metadata-url": url, "metadata-file": file } = view.settings(metadataSettings);
  return url !== undefined ? "nova" : file !== undefined ? "model" : undefined;
}

/** By which addresses of the service machines of a network are answered. */
export function addressesFor(view: ReadView, networkId: string): readonly string[] {
  if (sourceOf(view) === undefined) return [];
  const subnets = view.by(subnetTable, "network", networkId);
  return [...(subnets.some((s) => s.ip_version === 4) ? [SERVICE.ipv4] : []), ...(subnets.some((s) => s.ip_version === 6) ? [SERVICE.ipv6] : [])];
}
/** The same, of a network that is served (derived); `id` is the network's. */
export interface ServedNetwork extends Row {
  readonly addresses: readonly string[];
}
export const servedNetworkTable = defineTable<ServedNetwork>()("metadata_network", { derived: true });

/** A host, where somebody answers (derived). */
export type ServingHost = Row;
export const servingHostTable = defineTable<ServingHost>()("metadata_host", { derived: true });

/** Meters of their own: who asks much for metadata has an address and a name all the same. */
const requestMeters = zoneMeters("metadata-meter", 0x8010_0000, "meters of what ports send to the metadata service, one for each port: by its zone");
export const requestMeter = (zone: number): number => meterOfZone(requestMeters, zone);
export const pools = [requestMeters];
/** Of one port: acknowledgements of some 400 segments a second. */
export const REQUESTS = { unit: "pps", rate: 200, burst: 200 } as const;

/** Why Nova's metadata API does not answer now. One fact. */
export interface MetadataTrouble extends Row {
  readonly text: string;
}
export const metadataTroubleTable = defineSoftTable<MetadataTrouble>()("metadata_trouble", { ttlS: 60, limitPerOwner: 1, limit: 1 });
