// The layout: table ids and register bits, allocated from what the apps declare. Everything that shows a table's name or
// a register's derives from here; nobody writes a number. Every controller with the same apps gets the same layout.
import { ethType, sharedRegisters, stages, type App, type FieldRef, type FlowAction, type FlowSpec, type RegisterDecl, type StageName, type TableDecl } from "#app";
import { fields, ports, type Action, type FieldName, type SubField } from "node-openflow";

export interface PipelineTable extends TableDecl {
  readonly id: number;
  readonly name: string;
  readonly app: string;
  /** What may read and write `reg:` names here: shared ones and the app's own. */
  readonly registers: ReadonlySet<string>;
}

export interface Register extends SubField {
  readonly about: string;
  readonly name: string;
  /** "core" or the app that declared it. */
  readonly app: string;
}

/** What kind of packet a flow handles, as far as its match says. */
export type Family = "ip" | "ipv6" | "other" | "unknown";

/** How a packet goes on: to a table by goto_table, or by actions. */
export type Transition = number | readonly Action[];

/** The table-miss entry of a table, or one of them. */
export interface MissFlow {
  readonly spec: FlowSpec;
  readonly family: Family;
}

export class Layout {
  readonly tables: readonly PipelineTable[];
  readonly registers: ReadonlyMap<string, Register>;
  private readonly byName = new Map<string, PipelineTable>();
  /** stage -> where a packet handed to it goes in; table id -> the next table for `next`. */
  private readonly entries = new Map<StageName, PipelineTable | undefined>();
  private readonly following: (PipelineTable | undefined)[];

  /** @throws Error naming both apps when two declare the same table or register, or when registers do not fit. */
  constructor(apps: readonly App[]) {
    const owners = new Map<string, string>();
    const declared: { name: string; app: string; decl: RegisterDecl }[] = Object.entries(sharedRegisters).map(([name, decl]) => ({ name, app: "core", decl }));
    for (const app of apps) {
      for (const [name, decl] of Object.entries(app.pipeline?.registers ?? {})) declared.push({ name, app: app.name, decl });
    }
    for (const { name, app } of declared) {
      const other = owners.get(name);
      if (other !== undefined) throw new Error(`register ${name} is declared by ${other} and by ${app}`);
      owners.set(name, app);
    }
    this.registers = allocateRegisters(declared);

    const tables: PipelineTable[] = [];
    for (const stage of stages) {
      for (const app of apps) {
        for (const [name, decl] of Object.entries(app.pipeline?.tables ?? {})) {
          if (decl.stage !== stage.name) continue;
          const other = this.byName.get(name);
          if (other !== undefined) throw new Error(`table ${name} is declared by ${other.app} and by ${app.name}`);
          const own = Object.keys(app.pipeline?.registers ?? {});
          const table: PipelineTable = { ...decl, id: tables.length, name, app: app.name, registers: new Set([...Object.keys(sharedRegisters), ...own]) };
          tables.push(table);
          this.byName.set(name, table);
        }
      }
    }
    if (tables.length > 254) throw new Error(`${tables.length} tables are declared; a switch has 254`);
    this.tables = tables;
    const rank = (stage: StageName): number => stages.findIndex((s) => s.name === stage);
    for (const stage of stages) this.entries.set(stage.name, tables.find((t) => t.aside !== true && rank(t.stage) >= rank(stage.name)));
    this.following = tables.map((table) => tables.find((t) => t.id > table.id && t.aside !== true));
  }

  table(name: string): PipelineTable {
    const table = this.byName.get(name);
    if (table === undefined) throw new Error(`no app declares a table ${name}`);
    return table;
  }

  tableById(id: number): PipelineTable | undefined {
    return this.tables[id];
  }

  /** First table of the stage, or of the next stage that has one; undefined: past the last, deliver. */
  private entry(stage: StageName): PipelineTable | undefined {
    return this.entries.get(stage);
  }

  private stageAfter(stage: StageName): StageName | undefined {
    return stages[stages.findIndex((s) => s.name === stage) + 1]?.name;
  }

  private after(table: PipelineTable): PipelineTable | undefined {
    return this.following[table.id];
  }

  register(name: string): Register {
    const register = this.registers.get(name);
    if (register === undefined) throw new Error(`no app declares a register ${name}`);
    return register;
  }

  /** The table-miss entries of a table: none for "drop" (a switch drops), else on to the next. */
  missFlows(table: PipelineTable): MissFlow[] {
    if (table.miss === "drop") return [];
    const target = this.after(table);
    if (table.miss === "sibling" && target?.stage !== table.stage) return [];
    const flow = (priority: number, match: FlowSpec["match"], family: Family): MissFlow => ({ spec: { priority, match, actions: [{ type: "next" }] }, family });
    if (target?.conntrack !== true) return [flow(0, {}, "unknown")];
    return [flow(1, { eth_type: ethType.ip }, "ip"), flow(1, { eth_type: ethType.ipv6 }, "ipv6"), flow(0, {}, "other")];
  }

  /** Where an action leads that hands the packet on. @throws Error naming both tables when that way is not open */
  transition(table: PipelineTable, action: FlowAction & { readonly type: "next" | "stage" | "table" }, family: Family, last: boolean): Transition {
    switch (action.type) {
      case "next":
        return this.handOver(table, this.after(table), family, last);
      case "stage":
        return this.handOver(table, this.entry(action.stage), family, last);
      case "table":
        return this.handOver(table, this.ownTable(table, action.table), family, last);
    }
  }

  /** An action that does not hand the packet on, in switch terms. @throws Error naming table and register when it may not */
  lower(table: PipelineTable, action: Exclude<FlowAction, { readonly type: "next" | "stage" | "table" }>): readonly Action[] {
    switch (action.type) {
      case "call":
        return [{ type: "resubmit", table: this.ownTable(table, action.table).id }];
      case "call_stage": {
        const target = this.entry(action.stage);
        if (target === undefined || target.stage !== action.stage) return [];
        return [{ type: "resubmit", table: target.id }];
      }
      case "load_reg":
        return [loadOf(this.registerFor(table, action.reg), action.value)];
      case "copy":
        return [{ type: "move", src: this.subField(table, action.from), dst: this.subField(table, action.to) }];
      case "ct_commit": {
        const exec: Action[] = action.mark === undefined ? [] : [{ type: "set_field", field: "ct_mark", value: action.mark }];
        return [{ type: "ct", commit: true, zone: this.subField(table, "reg:ct_zone"), exec }];
      }
      case "punt":
        return [{ type: "output", port: ports.CONTROLLER, max_len: action.maxLen ?? 0xffff }];
      default:
        return [action];
    }
  }

  private handOver(from: PipelineTable, target: PipelineTable | undefined, family: Family, last: boolean): Transition {
    if (target === undefined) return [{ type: "output_reg", src: toSubField(this.register("out_port")) }];
    if (target.conntrack === true) {
      if (family === "unknown") throw new Error(`a flow of table ${from.name} that goes on to ${target.name} must match eth_type: conntrack takes only IP`);
      if (family === "other") {
        const stage = this.stageAfter(target.stage);
        return this.handOver(from, stage === undefined ? undefined : this.entry(stage), family, last);
      }
      return [{ type: "ct", zone: toSubField(this.register("ct_zone")), table: target.id }];
    }
    return last && target.id > from.id ? target.id : [{ type: "resubmit", table: target.id }];
  }

  private ownTable(from: PipelineTable, name: string): PipelineTable {
    const table = this.table(name);
    if (table.app !== from.app) throw new Error(`table ${from.name} of ${from.app} hands packets to ${name} of ${table.app}: go by stage`);
    return table;
  }

  /** A register that flows of the table may use. @throws Error naming both when it is another app's */
  registerFor(table: PipelineTable, name: string): Register {
    if (!table.registers.has(name)) throw new Error(`table ${table.name} of ${table.app} uses register ${name}, which is not shared and not its own`);
    return this.register(name);
  }

  /** A load made for any app's register: PortContext crosses apps by design. */
  loadRegister(name: string, value: number | bigint): Action {
    return loadOf(this.register(name), value);
  }

  subField(table: PipelineTable, ref: FieldRef): SubField {
    if (typeof ref !== "string") return { ...ref, field: ref.field as FieldName };
    if (ref.startsWith("reg:")) return toSubField(this.registerFor(table, ref.slice(4)));
    return wholeField(ref as FieldName);
  }
}

const loadOf = (register: Register, value: number | bigint): Action =>
  register.bits < 32 ? { type: "load", dst: toSubField(register), value } : { type: "set_field", field: register.field, value };

const toSubField = (s: SubField): SubField => ({ field: s.field, ofs: s.ofs, bits: s.bits });

function wholeField(name: FieldName): SubField {
  const field = fields[name];
  return { field: name, ofs: 0, bits: field.bits };
}

/** What a flow's match says of the packet. */
export function familyOf(match: FlowSpec["match"]): Family {
  const type = match.eth_type;
  if (type === undefined) return "unknown";
  return type === ethType.ip ? "ip" : type === ethType.ipv6 ? "ipv6" : "other";
}

/** Wide registers from the top (xxreg3 down), words from reg0 up, small ones packed into words after those. */
function allocateRegisters(declared: readonly { name: string; app: string; decl: RegisterDecl }[]): Map<string, Register> {
  const out = new Map<string, Register>();
  const wide = declared.filter((d) => d.decl.bits === 128);
  const words = declared.filter((d) => d.decl.bits === 32);
  const small = declared.filter((d) => d.decl.bits < 32).sort((a, b) => b.decl.bits - a.decl.bits);
  const place = (d: (typeof declared)[number], field: FieldName, ofs: number): void => {
    out.set(d.name, { ...d.decl, name: d.name, app: d.app, field, ofs });
  };
  wide.forEach((d, i) => place(d, `xxreg${3 - i}` as FieldName, 0));
  let word = 0;
  for (const d of words) place(d, `reg${word++}` as FieldName, 0);
  let ofs = 32;
  for (const d of small) {
    if (ofs + d.decl.bits > 32) {
      ofs = 0;
      word++;
    }
    place(d, `reg${word - 1}` as FieldName, ofs);
    ofs += d.decl.bits;
  }
  const room = 16 - 4 * wide.length;
  if (word > room) throw new Error(`the declared registers need ${word} words and ${wide.length} wide ones; a switch has 16 words in all`);
  return out;
}
