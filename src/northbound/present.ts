// Rows out: what a caller is shown of a row. Columns come from the row, the rest from the present functions of the
// resource and its extensions; attributes that the caller may not read are left out, object by object.
import type { Caller, ReadView, StandardRow, Values } from "../app/contract.ts";
import type { Kind, KindAttribute } from "./kinds.ts";

interface Shown {
  readonly attribute: KindAttribute;
  /** Only where this rule allows it. */
  readonly rule: KindAttribute["get"];
}

const cache = new WeakMap<Kind, WeakMap<ReadonlySet<string>, readonly Shown[]>>();

/** Attributes that the caller's roles do not already hide. */
function shownTo(kind: Kind, caller: Caller): readonly Shown[] {
  let byRoles = cache.get(kind);
  if (byRoles === undefined) cache.set(kind, (byRoles = new WeakMap()));
  let shown = byRoles.get(caller.roles);
  if (shown === undefined) {
    const out: Shown[] = [];
    for (const attribute of kind.shown) {
      const certain = attribute.get === undefined ? true : attribute.get.certain(caller);
      if (certain !== false) out.push({ attribute, rule: certain === true ? undefined : attribute.get });
    }
    byRoles.set(caller.roles, (shown = out));
  }
  return shown;
}

const NONE: Values = Object.freeze({});

/** A row with its presented attributes, made when first asked for. */
export class Item {
  readonly kind: Kind;
  readonly row: StandardRow;
  private readonly view: ReadView;
  private readonly caller: Caller;
  private presented: Values | undefined;

  constructor(kind: Kind, row: StandardRow, view: ReadView, caller: Caller) {
    this.kind = kind;
    this.row = row;
    this.view = view;
    this.caller = caller;
  }

  get id(): string {
    return this.row.id;
  }

  private get extra(): Values {
    return (this.presented ??= this.makeExtra());
  }

  private makeExtra(): Values {
    const { kind, row } = this;
    if (kind.presenters.length === 0) return NONE;
    const out: Record<string, unknown> = {};
    for (const present of kind.presenters) {
      const part = present(this.view, row, this.caller);
      for (const key of Object.keys(part)) {
        if (!kind.presented.has(key)) {
          if (Object.hasOwn(row, key)) throw new Error(`${kind.name}: ${key} is presented, but it is a column of the row as well`);
          if (!kind.attributes.has(key)) throw new Error(`${kind.name}: ${key} is presented, but no attribute of that name is declared`);
          kind.presented.add(key);
        }
        out[key] = part[key];
      }
    }
    return out;
  }

  /** The value whether the caller may see it or not. */
  value(name: string): unknown {
    const column = (this.row as unknown as Values)[name];
    if (column !== undefined) return column;
    return name === "tenant_id" ? this.row.project_id : this.extra[name];
  }

  /** The value, undefined if the caller may not see it. */
  visibleValue(attribute: KindAttribute): unknown {
    if (attribute.get !== undefined && !attribute.get.allows(this.caller, { row: this.row as unknown as Values }, this.view)) return undefined;
    return this.value(attribute.name);
  }

  /** What goes into the answer; `fields`: only these. */
  show(fields?: ReadonlySet<string>): Record<string, unknown> {
    const out: Record<string, unknown> = {};
    const row = this.row as unknown as Values;
    for (const { attribute, rule } of shownTo(this.kind, this.caller)) {
      const name = attribute.name;
      if (fields !== undefined && !fields.has(name)) continue;
      if (rule !== undefined && !rule.allows(this.caller, { row }, this.view)) continue;
      const value = row[name] ?? this.value(name);
      if (value !== undefined) out[name] = value;
    }
    return out;
  }
}
