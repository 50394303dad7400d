// The state machine by itself: what a next hop says, and what becomes of it.
import { bfdDiagnostics, bfdStates, type BfdControl } from "packet-codec";
import { expect, test } from "vitest";
import { INTERVAL_US, Machine } from "./machine.ts";

const { adminDown, down, init, up } = bfdStates;
const MINE = 0x0102_0304;
const said = (values: Partial<BfdControl>): BfdControl => ({
  diagnostic: 0, state: down, poll: false, final: false, controlPlaneIndependent: false, demand: false, multipoint: false, detect_mult: 3, my_discriminator: 7, your_discriminator: values.state === down || values.state === adminDown ? 0 : MINE,
  desired_min_tx_us: 1_000_000, required_min_rx_us: 1_000_000, required_min_echo_rx_us: 0, ...values,
});
function upMachine(): Machine {
  const machine = new Machine(MINE);
  machine.heard(said({ state: down }), 0);
  machine.heard(said({ state: up }), 0);
  expect(machine.state).toBe(up);
  return machine;
}

test("comes up by the three-way handshake of RFC 5880 section 6.2, by every way there is", () => {
  for (const [from, heard, to] of [
    [down, down, init], [down, init, up], [down, up, down], [down, adminDown, down], [init, down, init], [init, init, up], [init, up, up], [init, adminDown, down], [up, down, down], [up, init, up], [up, up, up], [up, adminDown, down],
  ] as const) {
    const machine = new Machine(MINE);
    if (from !== down) machine.heard(said({ state: down }), 0);
    if (from === up) machine.heard(said({ state: init }), 0);
    expect(machine.state).toBe(from);
    expect(machine.heard(said({ state: heard }), 1), `${from} hears ${heard}`).toEqual({ answer: false, changed: to !== from });
    expect(machine.state, `${from} hears ${heard}`).toBe(to);
  }
});

test("says whom it has heard, why it fell, and answers a poll", () => {
  const machine = upMachine();
  expect(machine.says()).toMatchObject({ state: up, diagnostic: bfdDiagnostics.none, my_discriminator: MINE, your_discriminator: 7, desired_min_tx_us: INTERVAL_US, required_min_rx_us: INTERVAL_US, required_min_echo_rx_us: 0 });
  expect(machine.heard(said({ state: up, poll: true, my_discriminator: 9 }), 1)).toEqual({ answer: true, changed: false });
  expect(machine.says({ final: true })).toMatchObject({ final: true, your_discriminator: 9 });
  machine.heard(said({ state: down }), 2);
  expect(machine.says()).toMatchObject({ state: down, diagnostic: bfdDiagnostics.neighbourSignaledSessionDown });
  expect(machine.says({ over: true })).toMatchObject({ state: adminDown, diagnostic: bfdDiagnostics.administrativelyDown });
});

test("falls when the next hop has been silent for as many of its intervals as it says, and forgets who it was", () => {
  const machine = upMachine();
  machine.heard(said({ state: up, detect_mult: 3 }), 10_000);
  expect(machine.silent(12_999)).toBe(false);
  expect(machine.silent(13_000)).toBe(true);
  expect(machine.says()).toMatchObject({ state: down, diagnostic: bfdDiagnostics.controlDetectionTimeExpired, your_discriminator: 0 });
  expect(machine.silent(20_000)).toBe(false);
  const slow = upMachine();
  slow.heard(said({ state: up, detect_mult: 2, desired_min_tx_us: 4_000_000 }), 0);
  expect(slow.silent(7999)).toBe(false);
  expect(slow.silent(8000)).toBe(true);
});

test("what is not to be taken changes nothing", () => {
  const machine = upMachine();
  const deadline = machine.deadlineMs;
  const before = machine.says();
  for (const [values, refused] of [
    [{ state: down, detect_mult: 0 }, "multiplier 0"],
    [{ state: down, multipoint: true }, "multipoint"],
    [{ state: down, my_discriminator: 0 }, "no discriminator"],
    [{ state: down, your_discriminator: MINE + 1 }, "another session"],
    [{ state: up, your_discriminator: 0 }, "no session said, and not down"],
    [{ state: init, your_discriminator: 0 }, "no session said, and not down"],
    [{ state: down, authentication: { type: "password", value: { key_id: 1, password: Buffer.from("secret") } } }, "authentication"],
  ] as const) {
    expect(machine.heard(said(values), 5000), refused).toEqual({ refused });
    expect(machine.says()).toEqual(before);
    expect(machine.deadlineMs).toBe(deadline);
  }
});

test("intervals that a next hop says, however small or large, make it send no faster, and no timer that is none", () => {
  for (const us of [0, 1, 999_999, 1_000_000, 0xffff_ffff]) {
    const machine = upMachine();
    machine.heard(said({ state: up, desired_min_tx_us: us, required_min_rx_us: us, detect_mult: 255 }), 0);
    expect(machine.detectMs).toBe((255 * Math.max(1_000_000, us)) / 1000);
    expect(machine.intervalMs).toBe(us === 0 ? undefined : Math.max(1_000_000, us) / 1000);
  }
  const demanding = upMachine();
  demanding.heard(said({ state: up, demand: true }), 0);
  expect(demanding.intervalMs).toBeUndefined();
});

test("goes on with a session that is up, and waits for the next hop as long as it said", () => {
  const before = upMachine();
  before.heard(said({ state: up, detect_mult: 3, desired_min_tx_us: 2_000_000 }), 0);
  const machine = new Machine(1, before.known);
  expect(machine.says()).toMatchObject({ state: up, my_discriminator: MINE, your_discriminator: 7 });
  expect(machine.silent(1e9)).toBe(false);
  machine.wait(1000);
  expect(machine.silent(6999)).toBe(false);
  expect(machine.heard(said({ state: up, desired_min_tx_us: 2_000_000 }), 6999)).toEqual({ answer: false, changed: false });
  expect(machine.silent(12_998)).toBe(false);
  expect(machine.silent(12_999)).toBe(true);
});
