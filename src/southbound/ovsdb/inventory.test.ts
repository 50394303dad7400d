// Who has the place of a chassis: a session that is silent gives way to another one, but to none that is refused itself.
// And what is told of a database whose session ends at a limit.
import { EventEmitter } from "node:events";
import { OvsdbConnectionError, OvsdbProtocolError, type OvsdbSession } from "ovsdb-client";
import { pino } from "pino";
import { expect, test } from "vitest";
import { machineClock } from "../../lib/clock.ts";
import { machineRandom } from "../../lib/random.ts";
import type { Host, HostOptions } from "./host.ts";
import { Inventory } from "./inventory.ts";

interface Session {
  open: boolean;
  readonly request: () => Promise<unknown>;
  readonly close: () => Promise<void>;
}

/** A database's session that answers nothing. */
function silent(address: string): { readonly host: Host; readonly session: Session } {
  const session: Session = {
    open: true,
    request: () => new Promise(() => undefined),
    close: () => {
      session.open = false;
      return Promise.resolve();
    },
  };
  return { host: { identity: { address, names: undefined }, peer: `${address}:1`, session } as unknown as Host, session };
}

function inventory(occupied: (address: string) => boolean): { readonly inventory: Inventory; readonly told: string[] } {
  const told: string[] = [];
  const options = {
    clock: machineClock, probeTimeoutMs: 5,
    occupied: (_: string, address: string) => Promise.resolve(occupied(address)),
    claimed: () => undefined,
    left: () => undefined,
    refusals: {
      refuse: (_chassis: string, _what: string, address: string) => told.push(`refused ${address}`),
      replaced: (_chassis: string, _what: string, address: string, before: string) => told.push(`${address} instead of ${before}`),
      accepted: () => undefined,
    },
  };
  return { inventory: new Inventory(options as unknown as HostOptions), told };
}

test("a silent session stays where the newcomer is refused, and no takeover is told", async () => {
  const { inventory: all, told } = inventory((address) => address === "10.0.0.9");
  const first = silent("10.0.0.1"), second = silent("10.0.0.9");
  expect(await all.claim(first.host, "hv1")).toBe(true);
  expect(await all.claim(second.host, "hv1")).toBe(false);
  expect(told).toEqual(["refused 10.0.0.9"]);
  expect(first.session.open).toBe(true);
  expect(all.host("hv1")).toBe(first.host);
});

test("a silent session gives way, which is told once the other has its place", async () => {
  const { inventory: all, told } = inventory(() => false);
  const first = silent("10.0.0.1"), second = silent("10.0.0.2");
  expect(await all.claim(first.host, "hv1")).toBe(true);
  expect(await all.claim(second.host, "hv1")).toBe(true);
  expect(told).toEqual(["10.0.0.2:1 instead of 10.0.0.1:1"]);
  expect(first.session.open).toBe(false);
  expect(all.host("hv1")).toBe(second.host);
});

test("a newcomer that has left meanwhile takes nobody's place", async () => {
  const { inventory: all, told } = inventory(() => false);
  const first = silent("10.0.0.1"), second = silent("10.0.0.2");
  expect(await all.claim(first.host, "hv1")).toBe(true);
  const claim = all.claim(second.host, "hv1");
  second.session.open = false;
  expect(await claim).toBe(false);
  expect(told).toEqual([]);
  expect(all.host("hv1")).toBe(first.host);
  expect(first.session.open).toBe(true);
});

test("of hundreds of hosts a few are looked at in a turn of the event loop, first those that are this controller's now", async () => {
  const { inventory: all } = inventory(() => false);
  const kicked: string[] = [];
  const ids = Array.from({ length: 300 }, (_, n) => `hv${n}`);
  for (const id of ids) {
    const { host } = silent(`10.0.1.${id}`);
    await all.claim(Object.assign(host, { kick: () => kicked.push(id), isAsItActs: Number(id.slice(2)) % 3 !== 0 }), id);
  }
  all.kickAll(ids);
  let last = 0;
  for (let turns = 0; kicked.length < ids.length; turns++) {
    expect(kicked.length - last).toBeLessThanOrEqual(8);
    expect(turns).toBeLessThan(100);
    last = kicked.length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(kicked.slice(0, 100)).toEqual(ids.filter((_, n) => n % 3 === 0));
  expect(new Set(kicked).size).toBe(300);
});

const endings: readonly [string, Error, readonly string[]][] = [
  ["that sends too much itself", new OvsdbProtocolError("too much"), ["peer on the OVSDB port does not speak OVSDB", "database"]],
  ["that gives way because others need the room", new OvsdbConnectionError("no room"), ["bytes_in_all"]],
];
test.each(endings)("a database %s is told of by the limit that it was", (_, reason, wanted) => {
  const told: string[] = [];
  const options = {
    clock: machineClock, random: machineRandom, log: pino({ enabled: false }), handshakeTimeoutMs: 5,
    troubles: { line: (_port: string, _address: string, _fields: object, message: string) => told.push(message), over: ({ limit }: { limit: string }) => told.push(limit) },
  };
  const never = (): Promise<never> => new Promise(() => undefined);
  const session = Object.assign(new EventEmitter(), { open: true, socket: {}, getSchema: never, monitor: never, request: never, close: never });
  new Inventory(options as unknown as HostOptions).accept(session as unknown as OvsdbSession);
  session.emit("close", reason);
  expect(told).toEqual(wanted);
});
