// VLAN tags, as switches show them to flows.

import { VLAN_PRESENT } from "#app";

/** As a match: whatever tag it has. */
export const TAGGED = { value: VLAN_PRESENT, mask: VLAN_PRESENT } as const;
/** EtherTypes of tags: IEEE 802.1Q and 802.1ad, and those that providers used before, which a switch does not read as tags. */
export const VLAN_TPIDS = [0x8100, 0x88a8, 0x9100, 0x9200, 0x9300] as const;
