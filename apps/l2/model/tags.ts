// VLAN tags, as switches show them to flows.

/** OFPVID_NONE and OFPVID_PRESENT, OpenFlow 1.3.5 section 7.2.3.7: the packet has no tag, the packet has one. */
export const VLAN_NONE = 0;
export const VLAN_PRESENT = 0x1000;
/** As a match: whatever tag it has. */
export const TAGGED = { value: VLAN_PRESENT, mask: VLAN_PRESENT } as const;
/** EtherTypes of tags: IEEE 802.1Q and 802.1ad, and those that providers used before, which a switch does not read as tags. */
export const VLAN_TPIDS = [0x8100, 0x88a8, 0x9100, 0x9200, 0x9300] as const;
