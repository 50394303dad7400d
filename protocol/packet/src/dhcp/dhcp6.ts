// DHCPv6 (RFC 8415): messages, and every option IANA has registered by its name without OPTION_. Options are an ordered
// list, because order and repetition mean something: an IA holds addresses, which hold status codes, and a relayed message
// is an option of the message that relays it. How deep that goes is bounded by the Reader.

import {
  authentication, civicAddress, domains, geoLocation, mobilityServices, networkInterface, portParameters, texts16, u16s, virtualSubnet,
} from "./forms.ts";
import { domain, partialDomain } from "../wire/domain-name.ts";
import { duid } from "./duid.ts";
import { PacketValueError } from "../wire/errors.ts";
import {
  bytes, empty, fixed, hexColons, ipv4, ipv6, ipv6s, joined, list, nested, optional, shortPrefix6, sized, struct, text, tlv, u16, u32, u8,
} from "../wire/form.ts";
import type { Form, ValueOf } from "../wire/form.ts";
import { Reader } from "../wire/reader.ts";

export const dhcp6Ports = { client: 546, server: 547 } as const;

/** ff02::1:2, where clients send, and ff05::1:3, where relays may. RFC 8415 7.1 */
export const dhcp6Groups = { relaysAndServers: "ff02::1:2", servers: "ff05::1:3" } as const;

export const dhcp6MessageTypes = {
  solicit: 1, advertise: 2, request: 3, confirm: 4, renew: 5, rebind: 6, reply: 7, release: 8, decline: 9, reconfigure: 10,
  informationRequest: 11, relayForward: 12, relayReply: 13, leasequery: 14, leasequeryReply: 15, leasequeryDone: 16, leasequeryData: 17,
  reconfigureRequest: 18, reconfigureReply: 19, dhcpv4Query: 20, dhcpv4Response: 21, activeLeasequery: 22, startTls: 23,
  bindingUpdate: 24, bindingReply: 25, poolRequest: 26, poolResponse: 27, updateRequest: 28, updateRequestAll: 29, updateDone: 30,
  connect: 31, connectReply: 32, disconnect: 33, state: 34, contact: 35, addressRegistrationInform: 36, addressRegistrationReply: 37,
} as const;

/** Values of STATUS_CODE. */
export const dhcp6StatusCodes = {
  success: 0, unspecFail: 1, noAddrsAvail: 2, noBinding: 3, notOnLink: 4, useMulticast: 5, noPrefixAvail: 6,
} as const;

export interface Dhcp6ClientMessage {
  msg_type: number;
  /** 24 bits. */
  transaction_id: number;
  /** Seconds since 2000-01-01 UTC; in failover messages (24 to 35) only. RFC 8156 5.2 */
  sent_time_s?: number;
  options: Dhcp6Option[];
}

/** RELAY-FORW and RELAY-REPL; what they carry is their option RELAY_MSG. */
export interface Dhcp6RelayMessage {
  msg_type: 12 | 13;
  hop_count: number;
  link_address: string;
  peer_address: string;
  options: Dhcp6Option[];
}

/** DHCPv4 over DHCPv6, RFC 7341. */
export interface Dhcp4o6Message {
  msg_type: 20 | 21;
  /** 24 bits; the highest: the client sent unicast. */
  flags: number;
  options: Dhcp6Option[];
}

export type Dhcp6Message = Dhcp6ClientMessage | Dhcp6RelayMessage | Dhcp4o6Message;

/** Options inside an option. */
export interface Dhcp6Nested {
  options: Dhcp6Option[];
}

const encapsulated: Form<Dhcp6Nested> = nested(() => ({
  read: (reader) => ({ options: optionsForm.read(reader) }),
  write: ({ options }) => optionsForm.write(options),
}));

const relayed: Form<Dhcp6Message> = nested(() => ({ read: readMessage, write: buildDhcp6 }));

const identityAssociation = joined(struct({ iaid: u32, t1_s: u32, t2_s: u32 }), encapsulated);

/** Options of a vendor, whose numbers are the vendor's. */
const vendorOptions = struct({ enterprise: u32, options: list(tlv("option", u16, u16, {})) });

const encryptedDns = struct({
  service_priority: u16, adn: sized(u16, domain), addresses: optional(sized(u16, list(ipv6, 0, 16))), service_params: bytes,
});

function perService<T>(form: Form<T>): Form<ValueOf<ReturnType<typeof serviceList<T>>>> {
  return serviceList(form);
}

function serviceList<T>(form: Form<T>) {
  return list(tlv("service", u16, u16, {
    informationService: [mobilityServices.informationService, form],
    commandService: [mobilityServices.commandService, form],
    eventService: [mobilityServices.eventService, form],
  }));
}

const option = tlv("option", u16, u16, {
  CLIENTID: [1, duid],
  SERVERID: [2, duid],
  IA_NA: [3, identityAssociation],
  IA_TA: [4, joined(struct({ iaid: u32 }), encapsulated)],
  IAADDR: [5, joined(struct({ address: ipv6, preferred_lifetime_s: u32, valid_lifetime_s: u32 }), encapsulated)],
  ORO: [6, u16s],
  PREFERENCE: [7, u8],
  /** Hundredths of a second. */
  ELAPSED_TIME: [8, u16],
  RELAY_MSG: [9, relayed],
  AUTH: [11, authentication],
  UNICAST: [12, ipv6],
  STATUS_CODE: [13, struct({ status: u16, message: text })],
  RAPID_COMMIT: [14, empty],
  USER_CLASS: [15, list(sized(u16, bytes), 1)],
  VENDOR_CLASS: [16, struct({ enterprise: u32, data: list(sized(u16, bytes)) })],
  VENDOR_OPTS: [17, vendorOptions],
  INTERFACE_ID: [18, bytes],
  /** The type of message the client shall answer with. */
  RECONF_MSG: [19, u8],
  RECONF_ACCEPT: [20, empty],
  SIP_SERVER_D: [21, domains],
  SIP_SERVER_A: [22, ipv6s],
  DNS_SERVERS: [23, ipv6s],
  DOMAIN_LIST: [24, domains],
  IA_PD: [25, identityAssociation],
  IAPREFIX: [26, joined(struct({ preferred_lifetime_s: u32, valid_lifetime_s: u32, prefix_length: u8, prefix: ipv6 }), encapsulated)],
  NIS_SERVERS: [27, ipv6s],
  NISP_SERVERS: [28, ipv6s],
  NIS_DOMAIN_NAME: [29, domains],
  NISP_DOMAIN_NAME: [30, domains],
  SNTP_SERVERS: [31, ipv6s],
  INFORMATION_REFRESH_TIME: [32, u32],
  BCMCS_SERVER_D: [33, domains],
  BCMCS_SERVER_A: [34, ipv6s],
  GEOCONF_CIVIC: [36, civicAddress],
  REMOTE_ID: [37, struct({ enterprise: u32, remote_id: bytes })],
  SUBSCRIBER_ID: [38, bytes],
  /** Flags: 1 the server updates AAAA, 2 it overrode that, 4 no updates at all. The name ends in a dot when complete. */
  CLIENT_FQDN: [39, struct({ flags: u8, name: partial() })],
  PANA_AGENT: [40, ipv6s],
  NEW_POSIX_TIMEZONE: [41, text],
  NEW_TZDB_TIMEZONE: [42, text],
  ERO: [43, u16s],
  LQ_QUERY: [44, joined(struct({ query_type: u8, link_address: ipv6 }), encapsulated)],
  CLIENT_DATA: [45, encapsulated],
  CLT_TIME: [46, u32],
  /** `message` may lack the client's part. RFC 5007 4.1.2.4 */
  LQ_RELAY_DATA: [47, struct({ peer_address: ipv6, message: bytes })],
  LQ_CLIENT_LINK: [48, ipv6s],
  MIP6_HNIDF: [49, domain],
  MIP6_VDINF: [50, encapsulated],
  V6_LOST: [51, domain],
  CAPWAP_AC_V6: [52, ipv6s],
  RELAY_ID: [53, duid],
  IPV6_ADDRESS_MOS: [54, perService(ipv6s)],
  IPV6_FQDN_MOS: [55, perService(domains)],
  NTP_SERVER: [56, list(tlv("option", u16, u16, { SRV_ADDR: [1, ipv6], MC_ADDR: [2, ipv6], SRV_FQDN: [3, domain] }), 1)],
  V6_ACCESS_DOMAIN: [57, domain],
  SIP_UA_CS_LIST: [58, domains],
  BOOTFILE_URL: [59, text],
  BOOTFILE_PARAM: [60, texts16],
  CLIENT_ARCH_TYPE: [61, u16s],
  NII: [62, networkInterface],
  GEOLOCATION: [63, geoLocation],
  AFTR_NAME: [64, domain],
  ERP_LOCAL_DOMAIN_NAME: [65, domain],
  RSOO: [66, encapsulated],
  PD_EXCLUDE: [67, struct({ prefix_length: u8, subnet_id: bytes })],
  VSS: [68, virtualSubnet],
  MIP6_IDINF: [69, encapsulated],
  MIP6_UDINF: [70, encapsulated],
  MIP6_HNP: [71, struct({ prefix_length: u8, prefix: ipv6 })],
  MIP6_HAA: [72, ipv6],
  MIP6_HAF: [73, domain],
  /** `preference`: 0 medium, 1 high, 3 low. */
  RDNSS_SELECTION: [74, struct({ server: ipv6, preference: u8, domains })],
  KRB_PRINCIPAL_NAME: [75, bytes],
  KRB_REALM_NAME: [76, text],
  KRB_DEFAULT_REALM_NAME: [77, text],
  KRB_KDC: [78, struct({ priority: u16, weight: u16, transport_type: u8, port: u16, address: ipv6, realm: text })],
  CLIENT_LINKLAYER_ADDR: [79, struct({ link_layer_type: u16, lladdr: hexColons })],
  LINK_ADDRESS: [80, ipv6],
  /** Attributes as RADIUS writes them. */
  RADIUS: [81, bytes],
  SOL_MAX_RT: [82, u32],
  INF_MAX_RT: [83, u32],
  ADDRSEL: [84, joined(struct({ flags: u8 }), encapsulated)],
  ADDRSEL_TABLE: [85, struct({ label: u8, precedence: u8, prefix: shortPrefix6 })],
  V6_PCP_SERVER: [86, ipv6s],
  /** A whole DHCPv4 message, for `parseDhcp`. */
  DHCPV4_MSG: [87, bytes],
  DHCP4_O_DHCP6_SERVER: [88, list(ipv6, 0, 16)],
  S46_RULE: [89, joined(struct({ flags: u8, ea_length: u8, prefix4_length: u8, prefix4: ipv4, prefix6: shortPrefix6 }), encapsulated)],
  S46_BR: [90, ipv6],
  S46_DMR: [91, shortPrefix6],
  S46_V4V6BIND: [92, joined(struct({ address: ipv4, prefix6: shortPrefix6 }), encapsulated)],
  S46_PORTPARAMS: [93, portParameters],
  S46_CONT_MAPE: [94, encapsulated],
  S46_CONT_MAPT: [95, encapsulated],
  S46_CONT_LW: [96, encapsulated],
  "4RD": [97, encapsulated],
  "4RD_MAP_RULE": [98, struct({ prefix4_length: u8, prefix6_length: u8, ea_length: u8, flags: u8, prefix4: ipv4, prefix6: ipv6 })],
  "4RD_NON_MAP_RULE": [99, struct({ flags: u8, traffic_class: u8, domain_pmtu: u16 })],
  LQ_BASE_TIME: [100, u32],
  LQ_START_TIME: [101, u32],
  LQ_END_TIME: [102, u32],
  CAPTIVE_PORTAL: [103, text],
  /** RFC 7774 2.1, with an address when it is about one domain only. */
  MPL_PARAMETERS: [104, struct({ parameters: fixed(16), domain: optional(ipv6) })],
  ANI_ATT: [105, u16],
  ANI_NETWORK_NAME: [106, text],
  ANI_AP_NAME: [107, text],
  ANI_AP_BSSID: [108, bytes],
  ANI_OPERATOR_ID: [109, bytes],
  ANI_OPERATOR_REALM: [110, text],
  S46_PRIORITY: [111, u16s],
  MUD_URL_V6: [112, text],
  V6_PREFIX64: [113, struct({ asm: shortPrefix6, ssm: shortPrefix6, unicast: shortPrefix6 })],
  F_BINDING_STATUS: [114, u8],
  F_CONNECT_FLAGS: [115, u16],
  F_DNS_REMOVAL_INFO: [116, encapsulated],
  F_DNS_HOST_NAME: [117, partial()],
  F_DNS_ZONE_NAME: [118, domain],
  F_DNS_FLAGS: [119, u16],
  F_EXPIRATION_TIME: [120, u32],
  F_MAX_UNACKED_BNDUPD: [121, u32],
  F_MCLT: [122, u32],
  F_PARTNER_LIFETIME: [123, u32],
  F_PARTNER_LIFETIME_SENT: [124, u32],
  F_PARTNER_DOWN_TIME: [125, u32],
  F_PARTNER_RAW_CLT_TIME: [126, u32],
  F_PROTOCOL_VERSION: [127, struct({ major: u16, minor: u16 })],
  F_KEEPALIVE_TIME: [128, u16],
  F_RECONFIGURE_DATA: [129, struct({ time_s: u32, key: bytes })],
  F_RELATIONSHIP_NAME: [130, text],
  F_SERVER_FLAGS: [131, u8],
  F_SERVER_STATE: [132, u8],
  F_START_TIME_OF_STATE: [133, u32],
  F_STATE_EXPIRATION_TIME: [134, u32],
  /** The port a relay sent from. RFC 8357 */
  RELAY_PORT: [135, u16],
  V6_SZTP_REDIRECT: [136, texts16],
  S46_BIND_IPV6_PREFIX: [137, shortPrefix6],
  IA_LL: [138, identityAssociation],
  LLADDR: [139, joined(
    struct({ link_layer_type: u16, lladdr: sized(u16, hexColons), extra_addresses: u32, valid_lifetime_s: u32 }), encapsulated,
  )],
  SLAP_QUAD: [140, list(struct({ quadrant: u8, preference: u8 }), 1)],
  V6_DOTS_RI: [141, domain],
  V6_DOTS_ADDRESS: [142, ipv6s],
  IPV6_ADDRESS_ANDSF: [143, ipv6s],
  V6_DNR: [144, encryptedDns],
  REGISTERED_DOMAIN: [145, domain],
  FORWARD_DIST_MANAGER: [146, struct({ transports: u16, name: domain })],
  REVERSE_DIST_MANAGER: [147, struct({ transports: u16, name: domain })],
  ADDR_REG_ENABLE: [148, empty],
});

/** partialDomain needs the name alone in its bytes, to see whether it ends. */
function partial(): Form<string> {
  return {
    read: (reader) => {
      const base = reader.offset;
      return partialDomain.read(new Reader(reader.rest(), base));
    },
    write: (value) => partialDomain.write(value),
  };
}

/** An option by name, or by its number with its bytes. */
export type Dhcp6Option = ValueOf<typeof option>;
export type Dhcp6OptionName = Exclude<Dhcp6Option["option"], number>;
export type Dhcp6Value<N extends Dhcp6OptionName> = Extract<Dhcp6Option, { option: N }>["value"];

const optionsForm: Form<Dhcp6Option[]> = list(option);

/** undefined when the number has no name. */
export function dhcp6OptionName(code: number): Dhcp6OptionName | undefined {
  return option.nameOf(code);
}

/** The value of the first option of that name, undefined when there is none. */
export function dhcp6Value<N extends Dhcp6OptionName>(holder: Dhcp6Nested, name: N): Dhcp6Value<N> | undefined {
  return holder.options.find((item) => item.option === name)?.value as Dhcp6Value<N> | undefined;
}

const { relayForward, relayReply, dhcpv4Query, dhcpv4Response, bindingUpdate, contact } = dhcp6MessageTypes;

function readMessage(reader: Reader): Dhcp6Message {
  const msg_type = reader.u8();
  if (msg_type === relayForward || msg_type === relayReply) {
    return { msg_type, hop_count: reader.u8(), link_address: reader.ipv6(), peer_address: reader.ipv6(), options: optionsForm.read(reader) };
  }
  const word = (reader.u8() << 16) | reader.u16();
  if (msg_type === dhcpv4Query || msg_type === dhcpv4Response) return { msg_type, flags: word, options: optionsForm.read(reader) };
  const sent = msg_type >= bindingUpdate && msg_type <= contact ? { sent_time_s: reader.u32() } : {};
  return { msg_type, transaction_id: word, ...sent, options: optionsForm.read(reader) };
}

/** `buf` is the UDP payload. One bad option makes the message bad. @throws PacketError */
export function parseDhcp6(buf: Uint8Array): Dhcp6Message {
  return readMessage(new Reader(buf));
}

function word24(value: number): Buffer {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffff) throw new PacketValueError("a number of 24 bits", String(value));
  return Buffer.of(value >>> 16, (value >>> 8) & 0xff, value & 0xff);
}

/** The UDP payload. @throws RangeError */
export function buildDhcp6(message: Dhcp6Message): Buffer {
  return Buffer.concat([u8.write(message.msg_type), ...headerParts(message), optionsForm.write(message.options)]);
}

function headerParts(message: Dhcp6Message): Uint8Array[] {
  if ("hop_count" in message) return [u8.write(message.hop_count), ipv6.write(message.link_address), ipv6.write(message.peer_address)];
  if ("flags" in message) return [word24(message.flags)];
  return [word24(message.transaction_id), ...(message.sent_time_s === undefined ? [] : [u32.write(message.sent_time_s)])];
}
