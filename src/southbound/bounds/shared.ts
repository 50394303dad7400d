// What all connections to the OVSDB port share: the room for messages that are being received and read, and the time that is spent on them. Both go
// by who is at the other end, not by the connection, and by whether it is a host's.
import type { Duplex } from "node:stream";
import type { Clock } from "../../lib/clock.ts";
import { certificateNames, holderOf } from "../identity.ts";
import { peerOf } from "../peer.ts";
import { ByteBudget, type Holding, type Owner } from "./byte-budget.ts";
import type { Connections } from "./connections.ts";
import { limits } from "./limits.ts";
import { Turns } from "./turns.ts";

/** As `room` and `turns` of the sessions of a listener. */
export interface Shared {
  readonly room: { open(giveUp: () => void, socket: Duplex): Holding };
  readonly turns: { take(piece: () => void, socket: Duplex): void };
}

export function shareOvsdb(connections: Pick<Connections, "waits">, clock: Clock): Shared {
  const budget = new ByteBudget(limits.ovsdbBytesInAll);
  const hosts = new Turns(limits.ovsdbTurns.hosts, clock);
  const strangers = new Turns(limits.ovsdbTurns.strangers, clock);
  const owners = new WeakMap<Duplex, Required<Owner>>();
  const ownerOf = (socket: Duplex): Required<Owner> => {
    let owner = owners.get(socket);
    if (owner === undefined) {
      const { host, text } = peerOf(socket);
      owner = { name: holderOf({ address: host, names: certificateNames(socket) }), stranger: () => connections.waits(text) };
      owners.set(socket, owner);
    }
    return owner;
  };
  return {
    room: { open: (giveUp, socket) => budget.open(giveUp, ownerOf(socket)) },
    turns: {
      take: (piece, socket) => {
        const { name, stranger } = ownerOf(socket);
        (stranger() ? strangers : hosts).take(name, piece);
      },
    },
  };
}
