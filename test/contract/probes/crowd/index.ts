import type { App, TableDecl } from "#app";

/** More than there is room for between two tables of others: these have to move. */
const COUNT = 60;

const tables: Record<string, TableDecl> = Object.fromEntries(
  Array.from({ length: COUNT }, (_, n) => [`crowd_${n}`, { stage: "translate", aside: true, miss: "drop", about: "stands there, and nothing leads to it", match: [], before: ["floating"] }]),
);

export default {
  name: "crowd",
  about: "has so many tables in one stage that others get other numbers when it comes",
  pipeline: { tables },
} satisfies App;
