// What hosts tell collectors of packets, and by which numbers ports are found in that.
import { defineSettings, defineTable, type Endpoint, type Row } from "#app";

export const exportSettings = defineSettings({
  "ipfix-collectors": { kind: { addresses: { port: 4739 } }, value: "ADDRESS[:PORT],...", about: "collectors that hosts send IPFIX to, by UDP, of what ports send and get; port 4739 if none is named" },
  "ipfix-sampling": { kind: { integer: [1, 65_535] }, value: "N", fallback: "400", about: "one packet in so many is told of by IPFIX; 1: all, which costs each a way through ovs-vswitchd" },
  "ipfix-cache-s": { kind: { integer: [0, 4200] }, value: "S", fallback: "60", about: "so many seconds what is alike is counted together before it is sent; 0: each sample is sent by itself" },
  "sflow-collectors": { kind: { addresses: { port: 6343 } }, value: "ADDRESS[:PORT],...", about: "collectors that hosts send sFlow to; port 6343 if none is named" },
  "sflow-sampling": { kind: { integer: [1, 0x7fff_ffff] }, value: "N", fallback: "400", about: "one packet in so many is sent by sFlow; 1: all" },
  "sflow-polling-s": { kind: { integer: [1, 86_400] }, value: "S", fallback: "30", about: "seconds between counters of interfaces by sFlow" },
});

/** As the database takes them. */
export const targetOf = ({ address, port }: Endpoint): string => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`);

/** What a host exports (derived). `id` is the chassis'. */
export interface ExportHost extends Row {
  /** `domain`: its observation domain, the key of the chassis. `probability`: packets in 65,535. */
  readonly ipfix: { readonly targets: readonly string[]; readonly domain: number; readonly probability: number; readonly cacheS: number } | undefined;
  readonly sflow: { readonly targets: readonly string[]; readonly sampling: number; readonly pollingS: number; readonly agent: string | undefined } | undefined;
}
export const exportHostTable = defineTable<ExportHost>()("export_host", { derived: true });

/** The set of collectors on the integration bridge, which is the controller's: rules name it by this number. */
export const COLLECTORS = 1;
/** Flows that a host counts together at a time. */
export const CACHED_FLOWS = 65_536;
