// Every option of DHCPv4 that IANA has registered, and two in wide use: its name, its number, and the form of its bytes.
// Names are dnsmasq's where it has one (Neutron's extra_dhcp_opts use them), otherwise the registry's in the same style.

import {
  authentication, civicAddress, domains, geoLocation, mobilityServices, networkInterface, portParameters, texts16, u16s, virtualSubnet,
} from "./forms.ts";
import { encodeClasslessRoutes, readClasslessRoutes } from "./routes.ts";
import { compressedDomain, domain, partialDomain } from "../wire/domain-name.ts";
import { duid } from "./duid.ts";
import type { Duid } from "./duid.ts";
import { PacketValueError } from "../wire/errors.ts";
import {
  bytes, empty, flag, i32, ipv4, ipv4s, ipv6, list, optional, sized, struct, text, tlv, u16, u32, u8, variant,
} from "../wire/form.ts";
import type { Form, ValueOf } from "../wire/form.ts";
import { Reader } from "../wire/reader.ts";

/** Pairs of addresses: a destination and a mask or a router. RFC 2132 4.3, 5.8 */
const addressPairs = list(struct({ first: ipv4, second: ipv4 }), 1, 8);

/** Sub-options nobody here gives a meaning to. */
const subOptions = list(tlv("option", u8, u8, {}));

/** RFC 2132 9.14 and RFC 4361 6.1: 255 means an IAID and a DUID, others are a hardware type with its address, or 0 and anything. */
export type DhcpClientId = { type: 255; iaid: number; duid: Duid } | { type: number; identifier: Uint8Array };

const clientId: Form<DhcpClientId> = {
  read: (reader) => {
    const type = reader.u8();
    if (type === 255) return { type, iaid: reader.u32(), duid: duid.read(reader) };
    return { type, identifier: reader.rest() };
  },
  write: (value) => Buffer.concat("duid" in value
    ? [Buffer.of(255), u32.write(value.iaid), duid.write(value.duid)]
    : [u8.write(value.type), value.identifier]),
};

/** RFC 4702. `encoded` says whether the name lies there as DNS writes it or, deprecated, as text. */
export interface DhcpClientFqdn {
  /** Bits: 1 the server updates A, 2 it overrode that, 4 DNS encoding, 8 no updates at all. */
  flags: number;
  rcode1: number;
  rcode2: number;
  /** With a dot at its end when complete. */
  name: string;
}

const dnsEncoded = 4;

const clientFqdn: Form<DhcpClientFqdn> = {
  read: (reader) => {
    const [flags, rcode1, rcode2] = [reader.u8(), reader.u8(), reader.u8()];
    const form = (flags & dnsEncoded) !== 0 ? partialDomain : text;
    const base = reader.offset;
    return { flags, rcode1, rcode2, name: form.read(new Reader(reader.rest(), base)) };
  },
  write: ({ flags, rcode1, rcode2, name }) => Buffer.concat([
    u8.write(flags), u8.write(rcode1), u8.write(rcode2), ((flags & dnsEncoded) !== 0 ? partialDomain : text).write(name),
  ]),
};

/** RFC 3046 and its registry. */
const relayAgent = list(tlv("option", u8, u8, {
  circuitId: [1, bytes],
  remoteId: [2, bytes],
  docsisDeviceClass: [4, u32],
  linkSelection: [5, ipv4],
  subscriberId: [6, text],
  radiusAttributes: [7, bytes],
  authentication: [8, bytes],
  vendorSpecific: [9, list(struct({ enterprise: u32, data: sized(u8, bytes) }))],
  /** The highest bit: the client's message came by unicast. RFC 5010 */
  flags: [10, u8],
  serverIdOverride: [11, ipv4],
  relayId: [12, duid],
  accessTechnologyType: [13, u16],
  accessNetworkName: [14, text],
  accessPointName: [15, text],
  accessPointBssid: [16, bytes],
  operatorId: [17, bytes],
  operatorRealm: [18, text],
  /** The relay listens at the port its message came from. RFC 8357 */
  sourcePort: [19, empty],
  virtualSubnet: [151, virtualSubnet],
  virtualSubnetControl: [152, empty],
}));

/** RFC 3361: names or addresses. */
const sipServers = variant("encoding", u8, { domains: [0, domains], addresses: [1, ipv4s] });

const backoff = struct({ nominal_timeout: u32, maximum_timeout: u32, maximum_retries: u32 });

/** RFC 3495, RFC 3594, RFC 3634 */
const cableLabs = list(tlv("option", u8, u8, {
  primaryDhcpServer: [1, ipv4],
  secondaryDhcpServer: [2, ipv4],
  provisioningServer: [3, variant("encoding", u8, { domain: [0, domain], address: [1, ipv4] })],
  authenticationBackoff: [4, backoff],
  applicationBackoff: [5, backoff],
  kerberosRealm: [6, domain],
  ticketGranting: [7, flag],
  provisioningTimer: [8, u8],
  ticketControl: [9, u16],
  kdcAddresses: [10, ipv4s],
}));

/** RFC 5678 */
const mosAddresses = list(tlv("service", u8, u8, Object.fromEntries(
  Object.entries(mobilityServices).map(([name, code]) => [name, [code, ipv4s] as const]),
) as { [N in keyof typeof mobilityServices]: readonly [number, typeof ipv4s] }));
const mosNames = list(tlv("service", u8, u8, Object.fromEntries(
  Object.entries(mobilityServices).map(([name, code]) => [name, [code, domains] as const]),
) as { [N in keyof typeof mobilityServices]: readonly [number, typeof domains] }));

const forms = {
  address: ipv4, addresses: ipv4s, addressPairs, address6: ipv6, flag, u8, u8s: list(u8, 1), u16, u16s, u32, i32, seconds: u32, text, bytes, empty,
  /** RFC 3397: names whose parts may point back. */
  domains: list(compressedDomain, 1),
  domainNames: domains,
  domainName: domain,
  /** RFC 3442 */
  routes: { read: readClasslessRoutes, write: encodeClasslessRoutes },
  /** dnsmasq's pseudo option 255, an address for the field siaddr and not for the options. */
  header: ipv4,
  subOptions, clientId, clientFqdn, relayAgent, sipServers, cableLabs, mosAddresses, mosNames, authentication, civicAddress, geoLocation, texts16,
  networkInterface, portParameters, virtualSubnet,
  /** RFC 3004 */
  userClass: list(sized(u8, bytes), 1),
  /** RFC 4578 2.3: type 0 is a UUID. */
  machineId: struct({ type: u8, identifier: bytes }),
  /** RFC 2610 */
  slpAgents: struct({ mandatory: flag, addresses: list(ipv4, 0, 4) }),
  slpScope: struct({ mandatory: flag, scopes: text }),
  /** RFC 4174 2 */
  isns: struct({ functions: u16, discovery_domain_access: u16, administrative_flags: u16, security: u32, addresses: ipv4s }),
  /** RFC 3925 */
  vendorClasses: list(struct({ enterprise: u32, data: sized(u8, bytes) }), 1),
  vendorOptions: list(struct({ enterprise: u32, options: sized(u8, subOptions) }), 1),
  /** RFC 6731 4.3; `preference` 0 medium, 1 high, 3 low. */
  rdnssSelection: struct({ preference: u8, primary: ipv4, secondary: ipv4, domains }),
  /** RFC 6926 6.2.2 */
  statusCode: struct({ status: u8, message: text }),
  /** RFC 7291 4: a list of addresses for each server. */
  pcpServers: list(sized(u8, ipv4s), 1),
  /** RFC 9463 5; an instance without addresses ends behind the name. */
  encryptedDns: list(sized(u16, struct({
    service_priority: u16, adn: sized(u8, domain), addresses: optional(sized(u8, ipv4s)), service_params: bytes,
  })), 1),
  /** RFC 5969 7.1.1 */
  sixRd: struct({ ipv4_mask_length: u8, prefix_length: u8, prefix: ipv6, border_relays: ipv4s }),
  /** RFC 6656 */
  subnetAllocation: struct({ flags: u8, options: subOptions }),
} as const satisfies Record<string, Form<unknown>>;

type Forms = typeof forms;

/** The form of an option's bytes; see `decodeDhcpValue` for the value each stands for. */
export type DhcpOptionType = keyof Forms;

export interface DhcpOption {
  readonly code: number;
  readonly type: DhcpOptionType;
}

const table = {
  "netmask": [1, "address"],
  "time-offset": [2, "i32"],
  "router": [3, "addresses"],
  "time-server": [4, "addresses"],
  "name-server": [5, "addresses"],
  "dns-server": [6, "addresses"],
  "log-server": [7, "addresses"],
  "cookie-server": [8, "addresses"],
  "lpr-server": [9, "addresses"],
  "impress-server": [10, "addresses"],
  "resource-location-server": [11, "addresses"],
  "hostname": [12, "text"],
  "boot-file-size": [13, "u16"],
  "merit-dump-file": [14, "text"],
  "domain-name": [15, "text"],
  "swap-server": [16, "address"],
  "root-path": [17, "text"],
  "extension-path": [18, "text"],
  "ip-forward-enable": [19, "flag"],
  "non-local-source-routing": [20, "flag"],
  "policy-filter": [21, "addressPairs"],
  "max-datagram-reassembly": [22, "u16"],
  "default-ttl": [23, "u8"],
  "path-mtu-aging-timeout": [24, "seconds"],
  "path-mtu-plateau-table": [25, "u16s"],
  "mtu": [26, "u16"],
  "all-subnets-local": [27, "flag"],
  "broadcast": [28, "address"],
  "perform-mask-discovery": [29, "flag"],
  "mask-supplier": [30, "flag"],
  "router-discovery": [31, "flag"],
  "router-solicitation": [32, "address"],
  "static-route": [33, "addressPairs"],
  "trailer-encapsulation": [34, "flag"],
  "arp-timeout": [35, "seconds"],
  "ethernet-encap": [36, "flag"],
  "tcp-ttl": [37, "u8"],
  "tcp-keepalive": [38, "seconds"],
  "tcp-keepalive-garbage": [39, "flag"],
  "nis-domain": [40, "text"],
  "nis-server": [41, "addresses"],
  "ntp-server": [42, "addresses"],
  "vendor-encap": [43, "bytes"],
  "netbios-ns": [44, "addresses"],
  "netbios-dd": [45, "addresses"],
  "netbios-nodetype": [46, "u8"],
  "netbios-scope": [47, "text"],
  "x-windows-fs": [48, "addresses"],
  "x-windows-dm": [49, "addresses"],
  "requested-address": [50, "address"],
  "lease-time": [51, "seconds"],
  "option-overload": [52, "u8"],
  "message-type": [53, "u8"],
  "server-identifier": [54, "address"],
  "parameter-request": [55, "u8s"],
  "message": [56, "text"],
  "max-message-size": [57, "u16"],
  "T1": [58, "seconds"],
  "T2": [59, "seconds"],
  "vendor-class": [60, "text"],
  "client-id": [61, "clientId"],
  "nwip-domain": [62, "text"],
  "nwip-options": [63, "subOptions"],
  "nis+-domain": [64, "text"],
  "nis+-server": [65, "addresses"],
  "tftp-server": [66, "text"],
  "bootfile-name": [67, "text"],
  "mobile-ip-home": [68, "addresses"],
  "smtp-server": [69, "addresses"],
  "pop3-server": [70, "addresses"],
  "nntp-server": [71, "addresses"],
  "www-server": [72, "addresses"],
  "finger-server": [73, "addresses"],
  "irc-server": [74, "addresses"],
  "streettalk-server": [75, "addresses"],
  "stda-server": [76, "addresses"],
  "user-class": [77, "userClass"],
  "slp-directory-agent": [78, "slpAgents"],
  "slp-service-scope": [79, "slpScope"],
  "rapid-commit": [80, "empty"],
  "FQDN": [81, "clientFqdn"],
  "agent-info": [82, "relayAgent"],
  "isns": [83, "isns"],
  "nds-server": [85, "addresses"],
  "nds-tree-name": [86, "text"],
  "nds-context": [87, "text"],
  "bcms-controller-names": [88, "domainNames"],
  "bcms-controller-address": [89, "addresses"],
  "authentication": [90, "authentication"],
  "last-transaction": [91, "seconds"],
  "associated-ip": [92, "addresses"],
  "client-arch": [93, "u16s"],
  "client-interface-id": [94, "networkInterface"],
  "ldap": [95, "text"],
  "client-machine-id": [97, "machineId"],
  "user-auth": [98, "text"],
  "geoconf-civic": [99, "civicAddress"],
  "posix-timezone": [100, "text"],
  "tzdb-timezone": [101, "text"],
  "ipv6-only": [108, "seconds"],
  "dhcp4o6-s46-saddr": [109, "address6"],
  "netinfo-address": [112, "addresses"],
  "netinfo-tag": [113, "text"],
  "captive-portal": [114, "text"],
  "auto-config": [116, "u8"],
  "name-service-search": [117, "u16s"],
  "subnet-select": [118, "address"],
  "domain-search": [119, "domains"],
  "sip-server": [120, "sipServers"],
  "classless-static-route": [121, "routes"],
  "cablelabs-client-configuration": [122, "cableLabs"],
  "geoconf": [123, "geoLocation"],
  "vendor-id-class": [124, "vendorClasses"],
  "vendor-id-encap": [125, "vendorOptions"],
  "pana-agent": [136, "addresses"],
  "lost-server": [137, "domainName"],
  "capwap-ac": [138, "addresses"],
  "mos-address": [139, "mosAddresses"],
  "mos-fqdn": [140, "mosNames"],
  "sip-ua-config": [141, "domainNames"],
  "andsf": [142, "addresses"],
  "sztp-redirect": [143, "texts16"],
  "geoloc": [144, "geoLocation"],
  "forcerenew-nonce": [145, "u8s"],
  "rdnss-selection": [146, "rdnssSelection"],
  "dots-ri": [147, "domainName"],
  "dots-address": [148, "addresses"],
  "tftp-server-address": [150, "addresses"],
  "status-code": [151, "statusCode"],
  "base-time": [152, "seconds"],
  "start-time-of-state": [153, "seconds"],
  "query-start-time": [154, "seconds"],
  "query-end-time": [155, "seconds"],
  "dhcp-state": [156, "u8"],
  "data-source": [157, "u8"],
  "pcp-server": [158, "pcpServers"],
  "port-params": [159, "portParameters"],
  "mud-url": [161, "text"],
  "dnr": [162, "encryptedDns"],
  "pxelinux-magic": [208, "bytes"],
  "pxelinux-config": [209, "text"],
  "pxelinux-prefix": [210, "text"],
  "pxelinux-reboot": [211, "seconds"],
  "6rd": [212, "sixRd"],
  "access-network-domain": [213, "domainName"],
  "subnet-allocation": [220, "subnetAllocation"],
  "virtual-subnet": [221, "virtualSubnet"],
  "ms-classless-static-route": [249, "routes"],
  "wpad": [252, "text"],
  "server-ip-address": [255, "header"],
} as const satisfies Record<string, readonly [number, DhcpOptionType]>;

type Table = typeof table;
export type DhcpOptionName = keyof Table;
/** The value of each option by name. */
export type DhcpValues = { [N in DhcpOptionName]: ValueOf<Forms[Table[N][1]]> };

/** Every option known by name. */
export const dhcpOptions = Object.fromEntries(
  Object.entries(table).map(([name, [code, type]]) => [name, { code, type }]),
) as Readonly<Record<DhcpOptionName, DhcpOption>>;

const byCode = new Map<number, { name: DhcpOptionName; type: DhcpOptionType }>(
  Object.entries(table).map(([name, [code, type]]) => [code, { name: name as DhcpOptionName, type }]),
);

/** By dnsmasq's name or as a decimal number; undefined for neither. A number without a name is `bytes`. */
export function findDhcpOption(nameOrCode: string): DhcpOption | undefined {
  if (Object.hasOwn(dhcpOptions, nameOrCode)) return dhcpOptions[nameOrCode as DhcpOptionName];
  if (!/^[1-9][0-9]{0,2}$/.test(nameOrCode) || Number(nameOrCode) > 254) return undefined;
  const code = Number(nameOrCode);
  return { code, type: dhcpOptionType(code) };
}

/** undefined when the code has no name here. */
export function dhcpOptionName(code: number): DhcpOptionName | undefined {
  return byCode.get(code)?.name;
}

/** `bytes` when the code has no name here. */
export function dhcpOptionType(code: number): DhcpOptionType {
  return byCode.get(code)?.type ?? "bytes";
}

function formOf(option: DhcpOptionName | number): Form<unknown> {
  const type = typeof option === "number" ? dhcpOptionType(option) : dhcpOptions[option]?.type;
  if (type === undefined) throw new PacketValueError("the name or number of a DHCP option", String(option));
  return forms[type];
}

/** What an option's bytes mean; bytes again for a number without a name. @throws PacketError */
export function decodeDhcpValue<N extends DhcpOptionName>(option: N, data: Uint8Array): DhcpValues[N];
export function decodeDhcpValue(option: number, data: Uint8Array): DhcpValues[DhcpOptionName];
export function decodeDhcpValue(option: DhcpOptionName | number, data: Uint8Array): unknown {
  const reader = new Reader(data);
  const value = formOf(option).read(reader);
  reader.end("DHCP option");
  return value;
}

/** The bytes of an option for a message's `options`. @throws RangeError */
export function encodeDhcpValue<N extends DhcpOptionName>(option: N, value: DhcpValues[N]): Buffer;
export function encodeDhcpValue(option: number, value: DhcpValues[DhcpOptionName]): Buffer;
export function encodeDhcpValue(option: DhcpOptionName | number, value: unknown): Buffer {
  return Buffer.from(formOf(option).write(value));
}
