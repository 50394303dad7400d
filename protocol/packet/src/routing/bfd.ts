// Bidirectional forwarding detection (RFC 5880): the control packet, which is the payload of UDP 3784 (single hop) or 4784
// (multihop). Authentication is kept, not checked: digests need the session's key.

import { PacketValueError } from "../wire/errors.ts";
import { bytes, lengthWithHead, reserved, struct, tlv, u32, u8 } from "../wire/form.ts";
import type { ValueOf } from "../wire/form.ts";
import { Reader } from "../wire/reader.ts";

export const bfdPorts = { control: 3784, echo: 3785, multihop: 4784 } as const;

export const bfdStates = { adminDown: 0, down: 1, init: 2, up: 3 } as const;

/** Why the session last left Up. RFC 5880 4.1 */
export const bfdDiagnostics = {
  none: 0, controlDetectionTimeExpired: 1, echoFunctionFailed: 2, neighbourSignaledSessionDown: 3, forwardingPlaneReset: 4,
  pathDown: 5, concatenatedPathDown: 6, administrativelyDown: 7, reverseConcatenatedPathDown: 8,
} as const;

const digest = struct({ key_id: u8, _reserved: reserved(1), sequence: u32, digest: bytes });

const authentication = tlv("type", u8, lengthWithHead, {
  password: [1, struct({ key_id: u8, password: bytes })],
  keyedMd5: [2, digest],
  meticulousKeyedMd5: [3, digest],
  keyedSha1: [4, digest],
  meticulousKeyedSha1: [5, digest],
});

/** By name, or by a number with its bytes. */
export type BfdAuthentication = ValueOf<typeof authentication>;

export interface BfdControl {
  /** 0..31, see `bfdDiagnostics`. */
  diagnostic: number;
  /** 0..3, see `bfdStates`. */
  state: number;
  poll: boolean;
  final: boolean;
  controlPlaneIndependent: boolean;
  demand: boolean;
  multipoint: boolean;
  detect_mult: number;
  my_discriminator: number;
  your_discriminator: number;
  /** Microseconds, as the two below. */
  desired_min_tx_us: number;
  required_min_rx_us: number;
  required_min_echo_rx_us: number;
  authentication?: BfdAuthentication;
}

const flagBits = { poll: 0x20, final: 0x10, controlPlaneIndependent: 0x08, demand: 0x02, multipoint: 0x01 } as const;
const authenticationPresent = 0x04;

/** The UDP payload; what is behind the packet's own length is left alone. @throws PacketError */
export function parseBfd(buf: Uint8Array): BfdControl {
  const outer = new Reader(buf);
  const first = outer.u8();
  if (first >>> 5 !== 1) outer.unsupported("BFD version is not 1", 1);
  const second = outer.u8();
  const detect_mult = outer.u8();
  const length = outer.u8();
  if (length < 24) outer.malformed("BFD length is below 24", 1);
  const reader = outer.within(length - 4);
  const control: BfdControl = {
    diagnostic: first & 0x1f,
    state: second >>> 6,
    poll: (second & flagBits.poll) !== 0,
    final: (second & flagBits.final) !== 0,
    controlPlaneIndependent: (second & flagBits.controlPlaneIndependent) !== 0,
    demand: (second & flagBits.demand) !== 0,
    multipoint: (second & flagBits.multipoint) !== 0,
    detect_mult,
    my_discriminator: reader.u32(),
    your_discriminator: reader.u32(),
    desired_min_tx_us: reader.u32(),
    required_min_rx_us: reader.u32(),
    required_min_echo_rx_us: reader.u32(),
  };
  if ((second & authenticationPresent) !== 0) control.authentication = authentication.read(reader);
  reader.end("BFD packet");
  return control;
}

/** The UDP payload. @throws RangeError */
export function buildBfd(control: BfdControl): Buffer {
  const { diagnostic, state } = control;
  if (!(diagnostic >= 0 && diagnostic <= 31)) throw new PacketValueError("a BFD diagnostic of 0..31", String(diagnostic));
  if (!(state >= 0 && state <= 3)) throw new PacketValueError("a BFD state of 0..3", String(state));
  const tail = control.authentication === undefined ? Buffer.alloc(0) : authentication.write(control.authentication);
  let second = (state << 6) | (control.authentication === undefined ? 0 : authenticationPresent);
  for (const [name, mask] of Object.entries(flagBits)) if (control[name as keyof typeof flagBits]) second |= mask;
  return Buffer.concat([
    Buffer.of(0x20 | diagnostic, second), u8.write(control.detect_mult), u8.write(24 + tail.length),
    u32.write(control.my_discriminator), u32.write(control.your_discriminator), u32.write(control.desired_min_tx_us),
    u32.write(control.required_min_rx_us), u32.write(control.required_min_echo_rx_us), tail,
  ]);
}
