// What becomes of a switch's flows, as lines: "+" added, "~" changed, "-" removed.
import { plain } from "./table.ts";

export interface SwitchFlows {
  readonly switch?: unknown;
  readonly add?: readonly string[];
  readonly change?: readonly string[];
  readonly remove?: readonly string[];
}

export function flowsText(id: string, { add = [], change = [], remove = [] }: SwitchFlows): string {
  if (add.length + change.length + remove.length === 0) return "";
  const lines = ([["+", add], ["~", change], ["-", remove]] as const).flatMap(([mark, those]) => those.map((line) => `    ${mark} ${plain(line)}\n`));
  return `  ${id}: ${add.length} flows added, ${change.length} changed, ${remove.length} removed\n${lines.join("")}`;
}
