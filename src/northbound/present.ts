// Rows out: what a caller is shown of a row. Columns come from the row, the rest from the present functions of the
// resource and its extensions; attributes that the caller may not read are left out, object by object.
//
// Answers are put together as text. Rows are immutable, so the text of a row's columns is kept for the next list; what is presented is kept
// as long as nothing changes that it was read from (shown.ts), and the text of both with it.
import type { Attribute, Caller, LiveView, ReadView, StandardRow, Values } from "../app/contract.ts";
import { Members } from "./wire/json-text.ts";
import { View } from "../model/view.ts";
import type { Kind, KindAttribute } from "./kinds.ts";
import type { Rule } from "./policy/index.ts";
import { ShownView } from "./shown.ts";

/** What callers of the same roles see of a kind. */
interface Face {
  /** Attributes whose visibility the roles decide; the rest of the visible ones has a rule to ask for each object. */
  readonly always: readonly string[];
  readonly ruled: readonly { readonly name: string; readonly rule: Rule }[];
  readonly states: ReadonlyMap<string, true | Rule>;
  readonly texts: Map<string, Texts>;
}

/** Of a row. */
interface Texts {
  readonly row: StandardRow;
  /** Of its columns that are always shown, where a rule is asked for each row. */
  readonly columns: string | undefined;
  /** Of all but what is shown instead of something, where none is, with these parts. */
  readonly whole: string | undefined;
  readonly parts: readonly Values[];
}

/** Rows whose text is kept, for each face. */
const KEEP_TEXTS = 16_384;

/** Of one version of the access rules. */
interface Faces {
  readonly version: number;
  readonly byRoles: WeakMap<ReadonlySet<string>, Face>;
  readonly byVerdicts: Map<string, Face>;
}
const faces = new WeakMap<Kind, Faces>();

function faceOf(kind: Kind, caller: Caller): Face {
  let known = faces.get(kind);
  if (known?.version !== kind.policyVersion) faces.set(kind, (known = { version: kind.policyVersion, byRoles: new WeakMap(), byVerdicts: new Map() }));
  let face = known.byRoles.get(caller.roles);
  if (face === undefined) known.byRoles.set(caller.roles, (face = makeFace(kind, caller, known.byVerdicts)));
  return face;
}

function makeFace(kind: Kind, caller: Caller, byVerdicts: Map<string, Face>): Face {
  const states = new Map<string, true | Rule>();
  for (const { name, get } of kind.shown) {
    const certain = get === undefined ? true : get.certain(caller);
    if (certain !== false) states.set(name, certain === true ? true : get!);
  }
  // Different roles often come to the same.
  const verdicts = [...states].map(([name, state]) => `${name}${state === true ? "" : "?"}`).join();
  let face = byVerdicts.get(verdicts);
  if (face === undefined) {
    const entries = [...states].filter(([name]) => !isAskedFor(kind.attributes.get(name)!.decl));
    const own = entries.filter(([name]) => !kind.instead.has(name));
    const always = own.filter(([, state]) => state === true).map(([name]) => name);
    const ruled = own.flatMap(([name, state]) => (state === true ? [] : [{ name, rule: state }]));
    byVerdicts.set(verdicts, (face = { always, ruled, states, texts: new Map() }));
  }
  return face;
}

/** Whether a member shows it only where `fields` name it. */
export const isAskedFor = ({ onRequest, inLists }: Attribute): boolean => onRequest === true || inLists === true;

/** An attribute that is a column of the row; undefined if it is none. */
export const column = (row: StandardRow, name: string): unknown => (name === "tenant_id" ? row.project_id : (row as unknown as Values)[name]);

function columnsText(face: Face, row: StandardRow): string {
  const members = new Members();
  for (const name of face.always) members.add(name, column(row, name));
  return members.text;
}

/** A string that was put together is a tree of its pieces, several times as large, and walked whenever it is written. This one is in one piece. */
const flat = (text: string): string => Buffer.from(text).toString();

/** Where rules are asked inside of an app's own call there are the transaction's rows alone. */
const live = (view: ReadView): LiveView => ("fact" in view ? (view as LiveView) : new View(view));

/** An attribute of a row whether the caller may see it or not; of what is only being asked for, no more than its columns. */
export function shownValue(kind: Kind, row: StandardRow, name: string, view: ReadView, caller: Caller): unknown {
  return column(row, name) ?? ((row.id as string | undefined) === undefined ? undefined : new Item(kind, row, live(view), caller).value(name));
}

/** A row with its presented attributes, made when first asked for. */
export class Item {
  readonly kind: Kind;
  readonly row: StandardRow;
  readonly id: string;
  private readonly view: LiveView;
  private readonly caller: Caller;
  private presented: readonly Values[] | undefined;

  constructor(kind: Kind, row: StandardRow, view: LiveView, caller: Caller) {
    this.kind = kind;
    this.row = row;
    this.id = row.id;
    this.view = view;
    this.caller = caller;
  }

  /** What each present function says. */
  private get parts(): readonly Values[] {
    return this.partsFor(false);
  }

  private partsFor(keep: boolean): readonly Values[] {
    return (this.presented ??= this.kind.sameForAll && this.view instanceof ShownView ? this.view.parts(this.kind.name, this.row, keep, this.present) : this.present());
  }

  private onRequest: Values | undefined;
  private get requested(): Values {
    return (this.onRequest ??= Object.assign({}, ...this.kind.onRequest.map((present) => present(this.view, this.row, this.caller))) as Values);
  }

  private readonly present = (): readonly Values[] =>
    this.kind.presenters.map((present, by) => {
      const part = present(this.view, this.row, this.caller);
      for (const key in part) if (this.kind.presented.get(key) !== by) this.checkPresented(key, by);
      return part;
    });

  private checkPresented(key: string, by: number): void {
    const { kind, row } = this;
    if (kind.presented.has(key)) throw new Error(`${kind.name}: ${key} is presented twice`);
    if (column(row, key) !== undefined) throw new Error(`${kind.name}: ${key} is presented, but it is a column of the row as well`);
    if (!kind.attributes.has(key)) throw new Error(`${kind.name}: ${key} is presented, but no attribute of that name is declared`);
    kind.presented.set(key, by);
  }

  /** The value whether the caller may see it or not. */
  value(name: string): unknown {
    const instead = this.kind.instead.get(name);
    if (instead !== undefined) return instead(this.view, this.row, this.caller);
    const own = column(this.row, name);
    if (own !== undefined) return own;
    if (this.kind.attributes.get(name)?.decl.onRequest === true) return this.requested[name];
    for (const part of this.parts) {
      const value = part[name];
      if (value !== undefined && Object.hasOwn(part, name)) return value;
    }
    return undefined;
  }

  private allowed(rule: Rule): boolean {
    return rule.allows(this.caller, { row: this.row as unknown as Values }, this.view);
  }

  maySee({ get }: KindAttribute): boolean {
    return get === undefined || this.allowed(get);
  }

  /** The value, undefined if the caller may not see it. */
  visibleValue(attribute: KindAttribute): unknown {
    return this.maySee(attribute) ? this.value(attribute.name) : undefined;
  }

  /** JSON text of what the caller sees. `fields`: only these. `keep`: of rows that are likely to be asked for again. */
  text(fields?: ReadonlySet<string>, keep = false): string {
    const face = faceOf(this.kind, this.caller);
    if (fields !== undefined) return this.fieldsText(face, fields);
    const parts = this.partsFor(keep);
    const kept = face.texts.get(this.id);
    const same = kept?.row === this.row;
    if (same && kept.whole !== undefined && kept.parts === parts) return this.withInstead(face, kept.whole);
    const columns = (same ? kept.columns : undefined) ?? columnsText(face, this.row);
    let ruled = face.ruled.length > 0;
    const rest = new Members();
    for (const { name, rule } of face.ruled) {
      const value = column(this.row, name);
      if (value !== undefined && this.allowed(rule)) rest.add(name, value);
    }
    for (const part of parts) {
      for (const key in part) {
        const state = face.states.get(key);
        if (state === undefined || this.kind.instead.has(key)) continue;
        if (state !== true) ruled = true;
        if (state === true || this.allowed(state)) rest.add(key, part[key]);
      }
    }
    const more = rest.text;
    const text = more === "" || columns === "" ? `{${columns}${more}}` : `{${columns},${more}}`;
    if (keep) {
      if (face.texts.size >= KEEP_TEXTS) face.texts.clear();
      face.texts.set(this.id, { row: this.row, columns: ruled ? flat(columns) : undefined, parts, whole: ruled ? undefined : flat(text) });
    }
    return this.withInstead(face, text);
  }

  /** The text with what is shown to this caller in place of something. */
  private withInstead(face: Face, text: string): string {
    const { instead } = this.kind;
    if (instead.size === 0) return text;
    const out = new Members();
    for (const [name, show] of instead) {
      const state = face.states.get(name);
      if (state !== undefined && (state === true || this.allowed(state))) out.add(name, show(this.view, this.row, this.caller));
    }
    const more = out.text;
    return more === "" ? text : text === "{}" ? `{${more}}` : `${text.slice(0, -1)},${more}}`;
  }

  private fieldsText(face: Face, fields: ReadonlySet<string>): string {
    const out = new Members();
    for (const name of fields) {
      const state = face.states.get(name);
      if (state !== undefined && (state === true || this.allowed(state))) out.add(name, this.value(name));
    }
    return `{${out.text}}`;
  }
}
