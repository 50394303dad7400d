// One end of a BFD session, asynchronous mode, single hop: RFC 5880 section 6. No time passes here but what the caller says.
import { bfdDiagnostics, bfdStates, type BfdControl } from "packet-codec";

/** Microseconds between packets of either side at least. */
export const INTERVAL_US = 1_000_000;
/** So many intervals does the next hop wait for us: a controller that starts again is not to take all routers out of use. */
export const DETECT_MULT = 10;

interface Remote {
  discriminator: number;
  state: number;
  demand: boolean;
  minTxUs: number;
  minRxUs: number;
  detectMult: number;
}

/** What is known of a session that was up. */
export interface Known {
  readonly local_discr: number;
  readonly remote_discr: number;
  readonly detection_time_ms: number;
}

/** Why a packet is not taken. */
export type Refusal = "multiplier 0" | "multipoint" | "no discriminator" | "another session" | "authentication" | "no session said, and not down";

export class Machine {
  readonly localDiscr: number;
  state: number = bfdStates.down;
  /** When it counts as silent; undefined: nothing is waited for. */
  deadlineMs: number | undefined;
  private diagnostic: number = bfdDiagnostics.none;
  private remote: Remote = { discriminator: 0, state: bfdStates.down, demand: false, minTxUs: INTERVAL_US, minRxUs: 1, detectMult: 3 };

  /** `known`: goes on with a session that is up. */
  constructor(localDiscr: number, known?: Known) {
    this.localDiscr = known?.local_discr ?? localDiscr;
    if (known === undefined) return;
    this.state = bfdStates.up;
    Object.assign(this.remote, { discriminator: known.remote_discr, state: bfdStates.up, minTxUs: known.detection_time_ms * 1000, detectMult: 1 });
  }

  get isUp(): boolean {
    return this.state === bfdStates.up;
  }

  /** How long the next hop may be silent. Section 6.8.4 */
  get detectMs(): number {
    return (this.remote.detectMult * Math.max(INTERVAL_US, this.remote.minTxUs)) / 1000;
  }

  get known(): Known {
    return { local_discr: this.localDiscr, remote_discr: this.remote.discriminator, detection_time_ms: this.detectMs };
  }

  /** Milliseconds to the next packet, without the part that is left to chance; undefined: none is wanted. Sections 6.8.3 and 6.8.7 */
  get intervalMs(): number | undefined {
    const { minRxUs, demand, state } = this.remote;
    if (minRxUs === 0 || (demand && this.isUp && state === bfdStates.up)) return undefined;
    return Math.max(INTERVAL_US, minRxUs) / 1000;
  }

  /** Section 6.8.6. What is not taken changes nothing. */
  heard(control: BfdControl, nowMs: number): { readonly refused: Refusal } | { readonly answer: boolean; readonly changed: boolean } {
    const refused = this.refusal(control);
    if (refused !== undefined) return { refused };
    const before = this.state;
    this.remote = {
      discriminator: control.my_discriminator, state: control.state, demand: control.demand, minTxUs: control.desired_min_tx_us, minRxUs: control.required_min_rx_us, detectMult: control.detect_mult,
    };
    this.deadlineMs = nowMs + this.detectMs;
    const { down, init, up, adminDown } = bfdStates;
    if (control.state === adminDown || (control.state === down && before === up)) {
      if (before !== down) this.fall(bfdDiagnostics.neighbourSignaledSessionDown);
    } else if (before === down) this.rise(control.state === down ? init : control.state === init ? up : down);
    else if (before === init && control.state >= init) this.rise(up);
    return { answer: control.poll, changed: this.state !== before };
  }

  private refusal({ detect_mult, multipoint, my_discriminator, your_discriminator, authentication, state }: BfdControl): Refusal | undefined {
    if (detect_mult === 0) return "multiplier 0";
    if (multipoint) return "multipoint";
    if (my_discriminator === 0) return "no discriminator";
    if (your_discriminator !== 0 && your_discriminator !== this.localDiscr) return "another session";
    if (your_discriminator === 0 && state !== bfdStates.down && state !== bfdStates.adminDown) return "no session said, and not down";
    return authentication === undefined ? undefined : "authentication";
  }

  private rise(state: number): void {
    this.state = state;
    if (state === bfdStates.up) this.diagnostic = bfdDiagnostics.none;
  }

  private fall(diagnostic: number): void {
    this.state = bfdStates.down;
    this.diagnostic = diagnostic;
  }

  /** Whether that it is silent has made it fall. */
  silent(nowMs: number): boolean {
    if (this.deadlineMs === undefined || nowMs < this.deadlineMs) return false;
    this.deadlineMs = undefined;
    // Who was silent so long may be another by now. Section 6.8.1, bfd.RemoteDiscr
    this.remote = { ...this.remote, discriminator: 0, minRxUs: 1, demand: false };
    if (this.state === bfdStates.down) return false;
    this.fall(bfdDiagnostics.controlDetectionTimeExpired);
    return true;
  }

  /** From now on it may be silent as long as ever. */
  wait(nowMs: number): void {
    if (this.state !== bfdStates.down) this.deadlineMs = nowMs + this.detectMs;
  }

  /** What is said now. Section 6.8.7 */
  says({ final = false, over = false } = {}): BfdControl {
    return {
      diagnostic: over ? bfdDiagnostics.administrativelyDown : this.diagnostic, state: over ? bfdStates.adminDown : this.state, poll: false, final, controlPlaneIndependent: false, demand: false, multipoint: false, detect_mult: DETECT_MULT,
      my_discriminator: this.localDiscr, your_discriminator: this.remote.discriminator, desired_min_tx_us: INTERVAL_US, required_min_rx_us: INTERVAL_US, required_min_echo_rx_us: 0,
    };
  }
}
