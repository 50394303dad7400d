// An address of a group is a member of it as a port's address is of a security group: the flows are those of remote groups.
import { derivation, each } from "#app";
import { memberTable, type Member } from "../security-groups/model.ts";
import { addressGroupTable } from "./model.ts";

export const derive = [
  derivation({
    name: "address-group-member",
    on: each(addressGroupTable),
    into: memberTable,
    reads: [],
    derive: ({ id, addresses }): Member[] => addresses.map((ip) => ({ id: `address-groups/${id}/${ip}`, of: id, ip })),
  }),
];
