// A switch without a data plane: it holds what it was told, change by change, and is compared with what another controller wants of it
// by the code that compares real ones.
import { FLOW_MOD_MATCH_OFFSET, flowKey } from "node-openflow";
import type { ChassisDelta, Desired, Flow, Item } from "../../src/compiler/desired.ts";
import { Comparison } from "../../src/southbound/openflow/comparison.ts";
import type { Relayouts } from "../../src/boot/relayout.ts";
import type { Relayout } from "../../src/southbound/openflow/withdrawal.ts";
import { ItemSync, wireText } from "../../src/southbound/openflow/items.ts";
import { sameInstructions } from "../../src/southbound/openflow/session.ts";

export const bytesOf = (f: Flow): string => f.slab.toString("latin1", f.off, f.off + f.len);

/** What a controller that starts tells a switch: what it has not, has otherwise, and should not have. Flows by key. */
export interface ToldAtStart {
  readonly missing: ReadonlySet<string>;
  readonly changed: ReadonlySet<string>;
  readonly foreign: ReadonlySet<string>;
  /** What was made under an earlier layout of the tables; undefined: nothing. */
  readonly relayout: Relayout | undefined;
  /** "<kind> <id>" */
  readonly set: ReadonlySet<string>;
  readonly removed: ReadonlySet<string>;
  /** Rows and patches as text. */
  readonly rowsAdded: ReadonlySet<string>;
  readonly rowsRemoved: ReadonlySet<string>;
}

export const rowsOf = (desired: Desired, chassis: string): string[] => [...desired.rowsOf(chassis), ...desired.patchesOf(chassis)].map((r) => JSON.stringify(r)).sort();

/** key -> bytes, of every delta that was applied. */
export class ToldSwitch {
  readonly flows = new Map<string, string>();
  readonly items = new Map<string, string>();
  rows: readonly string[] = [];
  private readonly installed = new Map<string, Item>();

  apply(delta: ChassisDelta, rows: () => readonly string[]): void {
    for (const f of delta.remove) this.flows.delete(f.key);
    for (const f of delta.add) this.flows.set(f.key, bytesOf(f));
    for (const i of delta.removeItems) this.remove(`${i.kind} ${i.id}`);
    for (const i of delta.addItems) this.set(i);
    if (delta.rowsChanged) this.rows = rows();
  }

  private set(item: Item): void {
    this.items.set(`${item.kind} ${item.id}`, item.text);
    this.installed.set(`${item.kind} ${item.id}`, item);
  }

  private remove(key: string): void {
    this.items.delete(key);
    this.installed.delete(key);
  }

  /** A controller that knows nothing of what was told compares, and tells the difference. */
  connect(desired: Desired, chassis: string, relayouts: Relayouts): ToldAtStart {
    const comparison = new Comparison(desired.flowsOf(chassis), sameInstructions, desired.learnedTables);
    const dump = this.dump();
    const steps = relayouts.of(dump, desired.flowsOf(chassis));
    let step = steps.next();
    while (step.done !== true) step = steps.next();
    const relayout = step.value;
    for (const part of dump) comparison.part(part);
    const found = comparison.finish(() => false);
    const keyOfDelete = (message: Buffer): string => flowKey(message[24]!, message.readUInt16BE(30), message, FLOW_MOD_MATCH_OFFSET, message.length - FLOW_MOD_MATCH_OFFSET);
    const told = { missing: new Set(found.missing.map((f) => f.key)), changed: new Set(found.changed.map((f) => f.key)), foreign: new Set(found.foreign.map(keyOfDelete)) };
    for (const key of told.foreign) this.flows.delete(key);
    for (const flow of [...found.missing, ...found.changed]) this.flows.set(flow.key, bytesOf(flow));

    const items = new ItemSync();
    items.compare([...this.installed.values()].map((i) => ({ kind: i.kind, id: i.id, text: wireText(i) })), desired.itemsOf(chassis));
    const { set, remove } = items.take();
    for (const { kind, id } of remove) this.remove(`${kind} ${id}`);
    for (const item of set) this.set(item);

    const before = this.rows;
    this.rows = rowsOf(desired, chassis);
    return {
      ...told, relayout, set: new Set(set.map((i) => `${i.kind} ${i.id}`)), removed: new Set(remove.map((i) => `${i.kind} ${i.id}`)),
      rowsAdded: new Set(this.rows.filter((r) => !before.includes(r))), rowsRemoved: new Set(before.filter((r) => !this.rows.includes(r))),
    };
  }

  /** OFPMP_FLOW replies with every flow, as a switch gives them. OpenFlow 1.3.5 A.3.5.2 */
  private dump(): Buffer[] {
    const parts: Buffer[] = [];
    let entries: Buffer[] = [];
    let length = 16;
    const flush = (): void => {
      const header = Buffer.alloc(16);
      header.set([4, 19]);
      header.writeUInt16BE(length, 2);
      header.writeUInt16BE(1, 8);
      parts.push(Buffer.concat([header, ...entries]));
      [entries, length] = [[], 16];
    };
    for (const bytes of this.flows.values()) {
      const mod = Buffer.from(bytes, "latin1");
      const entry = Buffer.alloc(mod.length);
      entry.writeUInt16BE(entry.length, 0);
      entry[2] = mod[24]!;
      mod.copy(entry, 12, 30, 32); // priority
      mod.copy(entry, 14, 26, 30); // timeouts
      mod.copy(entry, 24, 8, 16); // cookie
      mod.copy(entry, FLOW_MOD_MATCH_OFFSET, FLOW_MOD_MATCH_OFFSET); // match and instructions are at the same place in both
      if (length + entry.length > 60_000) flush();
      entries.push(entry);
      length += entry.length;
    }
    flush();
    return parts;
  }
}
