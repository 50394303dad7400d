// Text for terminals: tables whose columns stand below each other, and text of others made harmless.

/** Control and format characters replaced: a host's name must not move the cursor of whoever reads it. */
export const plain = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, "\ufffd");
/** The same for text of several lines. */
export const plainLines = (text: string): string => text.replace(/(?![\n\t])[\p{Cc}\p{Cf}\u2028\u2029]/gu, "\ufffd");

/** Anything as one cell; "-" for nothing. */
export function cell(value: unknown): string {
  if (value === undefined || value === null || value === "") return "-";
  if (typeof value === "string") return plain(value);
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return value.length === 0 ? "-" : value.map(cell).join(",");
  return plain(JSON.stringify(value));
}

/** Code points. */
const lengthOf = (text: string): number => text.length - (text.match(/[\ud800-\udbff](?=[\udc00-\udfff])/g)?.length ?? 0);

type Paint = (line: string) => string;

/** How a table fits a terminal. */
export interface Fit {
  /** Characters of a line. */
  readonly columns: number;
  /** By title, how narrow a column may become; others keep their width. */
  readonly least: Readonly<Record<string, number>>;
  /** Titles of columns that are left out where there is no room, the first of these first. */
  readonly spare: readonly string[];
}

const GAP = 2;
const CUT = "\u2026";

/** At most so many characters; what is cut ends in an ellipsis. */
function short(text: string, width: number): string {
  if (lengthOf(text) <= width) return text;
  return Array.from(text).slice(0, Math.max(0, width - 1)).join("").trimEnd() + CUT;
}

/** Rows as they come: the width of a column is that of the widest among the first ones, so that a table of any length can be written. */
export class TablePrinter {
  private readonly head: readonly string[];
  private readonly measured: number;
  private readonly fit: Fit | undefined;
  private waiting: { readonly row: string[]; readonly paint: Paint | undefined }[] | undefined = [];
  private widths: number[] = [];
  /** Places of the columns that are shown. */
  private shown: readonly number[];

  constructor(head: readonly string[], measured = 200, fit?: Fit) {
    this.head = head;
    this.measured = measured;
    this.fit = fit;
    this.shown = head.map((_, i) => i);
  }

  /** What is to be written now; `paint`: of the line, when it is as wide as it will be. */
  add(values: readonly unknown[], paint?: Paint): string {
    const row = values.map(cell);
    if (this.waiting === undefined) return this.line(row, paint);
    this.waiting.push({ row, paint });
    return this.waiting.length < this.measured ? "" : this.end();
  }

  /** What is left, with the head if nothing was written yet; nothing if there were no rows. */
  end(): string {
    const rows = this.waiting;
    this.waiting = undefined;
    if (rows === undefined || rows.length === 0) return "";
    this.widths = this.head.map((title, i) => Math.max(lengthOf(title), ...rows.map(({ row }) => lengthOf(row[i]!))));
    if (this.fit !== undefined) this.narrow(this.fit);
    return this.line(this.head) + rows.map(({ row, paint }) => this.line(row, paint)).join("");
  }

  /** Columns without room are left out, and then the widest become narrower. */
  private narrow({ columns, least, spare }: Fit): void {
    const { head, widths } = this;
    const leastOf = (i: number): number => Math.min(widths[i]!, Math.max(lengthOf(head[i]!), least[head[i]!] ?? Infinity));
    const sum = (of: (i: number) => number): number => this.shown.reduce((total, i) => total + of(i) + GAP, -GAP);
    for (const title of spare) if (sum(leastOf) > columns) this.shown = this.shown.filter((i) => head[i] !== title);
    for (let over = sum((i) => widths[i]!) - columns; over > 0; over--) {
      const widest = this.shown.filter((i) => widths[i]! > leastOf(i)).reduce<number | undefined>((most, i) => (most === undefined || widths[i]! > widths[most]! ? i : most), undefined);
      if (widest === undefined) return;
      widths[widest]!--;
    }
  }

  private line(row: readonly string[], paint: Paint = (line) => line): string {
    const last = this.shown.at(-1);
    const cells = this.shown.map((i) => {
      const text = this.fit === undefined ? row[i]! : short(row[i]!, this.widths[i]!);
      return i === last ? text : text + " ".repeat(Math.max(0, this.widths[i]! - lengthOf(text)));
    });
    const line = cells.join(" ".repeat(GAP)).trimEnd();
    return `${paint(this.fit === undefined ? line : short(line, this.fit.columns))}\n`;
  }
}

export function table(head: readonly string[], rows: Iterable<readonly unknown[]>): string {
  const printer = new TablePrinter(head, Infinity);
  for (const row of rows) printer.add(row);
  return printer.end();
}

/** Names and values below each other; a nested object's under its name and a dot. */
export function record(values: Readonly<Record<string, unknown>>): string {
  const flat = (of: Readonly<Record<string, unknown>>, before: string): [string, string][] =>
    Object.entries(of).flatMap(([name, value]) =>
      typeof value === "object" && value !== null && !Array.isArray(value) ? flat(value as Record<string, unknown>, `${before}${name}.`) : [[plain(before + name), cell(value)] as [string, string]]);
  const lines = flat(values, "");
  const width = Math.max(0, ...lines.map(([name]) => lengthOf(name)));
  return lines.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join("");
}

const codes = { green: 32, yellow: 33, red: 31 } as const;
export type Hue = keyof typeof codes;
/** For terminals; undefined: as it is. */
export const colored = (text: string, hue: Hue | undefined): string => (hue === undefined ? text : `\u001b[${codes[hue]}m${text}\u001b[0m`);
