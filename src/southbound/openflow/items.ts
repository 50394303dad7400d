// Meters and groups of one switch: which ids it has, which have to be set or removed. Groups go in the bundle with the flows, set first
// and removed last, since removing one that is in use removes its flows. Meters cannot be part of a bundle, so they go beside it:
// set before the flows that use them, removed after the flows that did.
import { decodeMessage, encodeMessage, ports, type Message } from "node-openflow";
import type { ChassisDelta, Item, ItemKind, LoweredGroup } from "../../compiler/desired.ts";
import { canonicalText } from "../../compiler/items.ts";
import type { InstalledItem, Session } from "./channel.ts";

export interface ItemChange {
  readonly set: readonly Item[];
  readonly remove: readonly { readonly kind: ItemKind; readonly id: number }[];
  /** OFPT_GROUP_MOD messages for the bundle, before and after its flows. */
  readonly before: readonly Buffer[];
  readonly after: readonly Buffer[];
}

const keyOf = (item: { readonly kind: ItemKind; readonly id: number }): string => `${item.kind} ${item.id}`;

export class ItemSync {
  private set = new Map<string, Item>();
  private remove = new Map<string, { readonly kind: ItemKind; readonly id: number }>();
  /** On the switch. */
  private installed = new Set<string>();
  /** Counts changes, wanted or sent: whoever compares notices one that came in between. */
  revision = 0;

  get pending(): boolean {
    return this.set.size > 0 || this.remove.size > 0;
  }

  forget(): void {
    this.set = new Map();
    this.remove = new Map();
  }

  apply(delta: ChassisDelta): void {
    this.revision += delta.addItems.length + delta.removeItems.length;
    for (const item of delta.addItems) {
      this.remove.delete(keyOf(item));
      this.set.set(keyOf(item), item);
    }
    for (const { kind, id } of delta.removeItems) {
      this.set.delete(keyOf({ kind, id }));
      this.remove.set(keyOf({ kind, id }), { kind, id });
    }
  }

  /** What differs on the switch becomes pending. */
  compare(installed: readonly InstalledItem[], desired: Iterable<Item>): void {
    this.installed = new Set(installed.map(keyOf));
    const found = new Map(installed.map((i) => [keyOf(i), i]));
    for (const item of desired) {
      const now = found.get(keyOf(item));
      found.delete(keyOf(item));
      if (now?.text !== wireText(item)) this.set.set(keyOf(item), item);
    }
    for (const [key, { kind, id }] of found) this.remove.set(key, { kind, id });
  }

  /** What is pending, which is then on its way. */
  take(): ItemChange {
    const groups = [...this.set.values()].filter((i) => i.kind === "group");
    const change = {
      set: [...this.set.values()],
      remove: [...this.remove.values()].filter((i) => this.installed.has(keyOf(i))),
      before: groups.map((g) => groupMod(g.id, g.value, this.installed.has(keyOf(g)))),
      after: [...this.remove.values()].filter((i) => i.kind === "group" && this.installed.has(keyOf(i))).map((g) => groupMod(g.id, undefined, true)),
    };
    this.forget();
    return change;
  }

  sendSet(session: Session, change: ItemChange): void {
    for (const item of change.set) {
      if (item.kind === "meter") session.setMeter(item.id, item.value, this.installed.has(keyOf(item)));
      this.installed.add(keyOf(item));
      this.revision++;
    }
  }

  sendRemove(session: Session, change: ItemChange): void {
    for (const item of change.remove) {
      if (!this.installed.delete(keyOf(item))) continue;
      if (item.kind === "meter") session.removeMeter(item.id);
    }
  }
}

/** Ids of meters that are desired and not on the switch. */
export function lostMeters(installed: readonly InstalledItem[], desired: Iterable<Item>): ReadonlySet<number> {
  const there = new Set(installed.flatMap((i) => (i.kind === "meter" ? [i.id] : [])));
  const lost = new Set<number>();
  for (const { kind, id } of desired) if (kind === "meter" && !there.has(id)) lost.add(id);
  return lost;
}

/** OFPT_GROUP_MOD that adds, modifies or (without a value) deletes. OpenFlow 1.3.5 section 7.3.4.3. */
function groupMod(id: number, value: LoweredGroup | undefined, exists: boolean): Buffer {
  return encodeMessage(groupMessage(id, value, exists), 0);
}

function groupMessage(id: number, value: LoweredGroup | undefined, exists: boolean): Message {
  const command = value === undefined ? "delete" : exists ? "modify" : "add";
  return { type: "group_mod", command, group_type: value?.type ?? "all", group_id: id, buckets: (value?.buckets ?? []).map((b) => ({ weight: value?.type === "select" ? 1 : 0, ...b })) };
}

const texts = new WeakMap<Item, string>();

/** Text of an item as a switch would give it back: through the wire form, which has one spelling for many. */
export function wireText(item: Item): string {
  let text = texts.get(item);
  if (text === undefined) {
    if (item.kind === "meter") text = canonicalText(item.value);
    else {
      const { buckets } = decodeMessage(encodeMessage(groupMessage(item.id, item.value, false), 0)) as unknown as { buckets: readonly object[] };
      text = groupText(item.value.type, buckets);
    }
    texts.set(item, text);
  }
  return text;
}

/** `buckets` as decoded; what is not set is left out. */
export function groupText(type: string, buckets: readonly object[]): string {
  const plain = buckets.map((bucket) => {
    const { weight, watch_port, watch_group, actions } = bucket as { weight?: number; watch_port?: number; watch_group?: number; actions: unknown };
    return { weight: type === "select" ? (weight ?? 1) : 0, port: watch_port ?? ports.ANY, group: watch_group ?? ports.ANY, actions };
  });
  return canonicalText({ type, buckets: plain });
}
