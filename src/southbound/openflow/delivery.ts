// How a set of flow changes reaches a switch: in one atomic bundle, again without what the switch refuses.
import { OpenFlowError, type Slice } from "node-openflow";
import type { Logger } from "pino";
import type { Flow } from "../../compiler/desired.ts";
import type { SouthboundMetrics } from "../metrics.ts";
import type { Session } from "./channel.ts";
import { deleteFlow } from "./comparison.ts";

export interface Entry {
  readonly flow: Flow;
  readonly add: boolean;
}

export interface DeliveryOptions {
  readonly chassis: string;
  readonly metrics: SouthboundMetrics;
  readonly log: Logger;
  /** False: the session has been given up meanwhile. */
  readonly current: () => boolean;
  /** The switch does not take this flow. */
  readonly refused: (flow: Flow, error: string) => void;
}

/** Refusals in one bundle after which it is cut into pieces, so that one more refusal costs less. */
const REFUSALS_WHOLE = 8;
const PIECE = 512;
/** Refusals in all pieces of a bundle after which a piece that is refused is set aside as a whole. */
const REFUSALS_PIECES = 2048;

export class Delivery {
  private readonly session: Session;
  private readonly options: DeliveryOptions;
  private readonly metricLabels: { readonly switch: string };

  constructor(session: Session, options: DeliveryOptions) {
    this.session = session;
    this.options = options;
    this.metricLabels = { switch: options.chassis };
  }

  /** `foreign`: messages that remove what is not ours. @throws when it is not known what the switch has now */
  async send(foreign: readonly Buffer[], changes: Iterable<Entry>): Promise<void> {
    const entries = [...changes];
    // Within a bundle the order does not show. Removals go first, so that two spellings of one match cannot undo each other.
    entries.sort((a, b) => Number(a.add) - Number(b.add));
    const left = await this.sendWhole(foreign, entries);
    const budget = { refusals: REFUSALS_PIECES };
    for (let at = 0; at < left.length; at += PIECE) await this.sendPiece(left.slice(at, at + PIECE), budget);
  }

  /** One bundle; again without each flow that is refused. Returns what is left when that happens too often. */
  private async sendWhole(foreign: readonly Buffer[], entries: Entry[]): Promise<Entry[]> {
    let deletes = foreign;
    for (let refusals = 0; refusals <= REFUSALS_WHOLE; refusals++) {
      const error = await this.tryBundle(deletes, entries);
      if (error === undefined) return [];
      if (error.index === undefined) {
        deletes = [];
        break;
      }
      const culprit = entries[error.index - deletes.length];
      if (culprit === undefined) deletes = deletes.filter((_, i) => i !== error.index);
      else this.refuse(entries, culprit, error);
    }
    return entries;
  }

  /** A bundle of few flows; halved until what is refused stands alone. */
  private async sendPiece(entries: Entry[], budget: { refusals: number }): Promise<void> {
    if (entries.length === 0) return;
    const error = await this.tryBundle([], entries);
    if (error === undefined) return;
    if (budget.refusals-- <= 0) {
      for (const entry of [...entries]) this.refuse(entries, entry, error);
      return;
    }
    const culprit = error.index === undefined ? (entries.length === 1 ? entries[0] : undefined) : entries[error.index];
    if (culprit !== undefined) {
      this.refuse(entries, culprit, error);
      await this.sendPiece(entries, budget);
      return;
    }
    const half = entries.length >> 1;
    await this.sendPiece(entries.slice(0, half), budget);
    await this.sendPiece(entries.slice(half), budget);
  }

  /** Sets a flow aside; in its place the switch is told to have none, since what it has may be an older form. */
  private refuse(entries: Entry[], culprit: Entry, error: OpenFlowError): void {
    const at = entries.indexOf(culprit);
    const { flow, add } = culprit;
    entries.splice(at, 1);
    if (!add) {
      this.options.log.error({ err: error, table: flow.table }, "switch refused to remove a flow");
      return;
    }
    entries.unshift({ flow, add: false });
    this.options.metrics.refused.inc(this.metricLabels);
    this.options.refused(flow, error.errorName ?? error.message);
  }

  /** undefined: committed. @throws what is not about one of the messages */
  private async tryBundle(foreign: readonly Buffer[], entries: readonly Entry[]): Promise<OpenFlowError | undefined> {
    const { metrics } = this.options;
    const messages: Slice[] = foreign.map(whole);
    for (const { flow, add } of entries) messages.push(add ? { buf: flow.slab, off: flow.off, len: flow.len } : whole(deleteFlow(flow)));
    if (messages.length === 0) return undefined;
    metrics.flowMods.inc(this.metricLabels, messages.length);
    metrics.bytes.inc({}, messages.reduce((sum, m) => sum + m.len, 0));
    try {
      await this.session.bundle(messages);
      metrics.bundles.inc({ result: "committed" });
      return undefined;
    } catch (error) {
      if (!(error instanceof OpenFlowError) || error.code !== "OF_PEER_ERROR" || !this.options.current()) throw error;
      // A bundle that failed for another reason than a message in it (out of memory, timeout) says nothing about the flows.
      if (error.errorName?.startsWith("OFPBFC_") === true && error.errorName !== "OFPBFC_MSG_FAILED" && error.index === undefined) throw error;
      metrics.bundles.inc({ result: "refused" });
      return error;
    }
  }
}

const whole = (buf: Buffer): Slice => ({ buf, off: 0, len: buf.length });
