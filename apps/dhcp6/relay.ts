// Relay agents: what they send and are answered carries the message of their client inside, one in the other where there are several on the way
// (RFC 8415 sections 9 and 19). For whom they ask is what the first of them says of its client.
import { dhcp6MessageTypes, dhcp6Value, type Dhcp6ClientMessage, type Dhcp6Message, type Dhcp6Option, type Dhcp6RelayMessage } from "packet-codec";
import { macOfLinkLocal } from "../l2/model.ts";

/** RFC 8415 section 7.6: the highest hop count; the first relay's is 0. */
const HOP_COUNT_LIMIT = 8;
/** Hardware type of ARP. */
const ETHERNET = 1;
const NOWHERE = "::";

/** What came by relay agents. */
export interface Relayed {
  /** The one that sent it first, that of the client last; at least one. */
  readonly relays: readonly Dhcp6RelayMessage[];
  readonly message: Dhcp6Message;
  /** An address of the link that the client is on: by the relay next to it that names one (section 13.1). */
  readonly link: string;
  /** Of the client. */
  readonly mac: string;
}

/** RELAY-FORW messages, without the one that they are about. */
export function relayed(outermost: Dhcp6RelayMessage): Relayed | { readonly ignored: string } {
  const relays: Dhcp6RelayMessage[] = [];
  let message: Dhcp6Message | undefined = outermost;
  for (; message !== undefined && "hop_count" in message; message = dhcp6Value(message, "RELAY_MSG")) {
    if (message.msg_type !== dhcp6MessageTypes.relayForward) return { ignored: "a relay's message that is none to a server" };
    if (message.hop_count > HOP_COUNT_LIMIT || relays.length > HOP_COUNT_LIMIT) return { ignored: "came through too many relays" };
    relays.push(message);
  }
  if (message === undefined) return { ignored: "a relay's message without one of a client" };
  const link = relays.findLast(({ link_address }) => link_address !== NOWHERE)?.link_address;
  if (link === undefined) return { ignored: "no relay says on which link its client is" };
  const mac = macOf(relays.at(-1)!);
  return mac === undefined ? { ignored: "its relay says no MAC of its client" } : { relays, message, link, mac };
}

/**
 * The client's MAC, as the relay next to it says (RFC 6939), or as its link-local address is made of. Not of its DUID: a machine has one for all of its
 * interfaces, copies of it have the same, and nobody else is to read it (RFC 8415 section 11).
 */
function macOf(first: Dhcp6RelayMessage): string | undefined {
  const said = dhcp6Value(first, "CLIENT_LINKLAYER_ADDR");
  const mac = said === undefined ? macOfLinkLocal(first.peer_address) : said.link_layer_type === ETHERNET ? said.lladdr : "";
  return mac === "" ? undefined : mac;
}

/** The answer, in a RELAY-REPL for each relay on the way: what it has to find its way back by comes back as it was sent. RFC 8415 sections 18.3.10 and 19.3 */
export function wrapped({ relays }: Pick<Relayed, "relays">, answer: Dhcp6ClientMessage): Dhcp6Message {
  return relays.reduceRight<Dhcp6Message>((inner, { hop_count, link_address, peer_address, options }) => {
    const interfaceId = options.find(({ option }) => option === "INTERFACE_ID");
    const back: Dhcp6Option[] = [...(interfaceId === undefined ? [] : [interfaceId]), { option: "RELAY_MSG", value: inner }];
    return { msg_type: dhcp6MessageTypes.relayReply, hop_count, link_address, peer_address, options: back };
  }, answer);
}
