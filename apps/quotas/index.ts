// Quotas: how many of each resource a project may have.
import type { App } from "#app";
import { aliases, extendAll, resources } from "./api.ts";
import { quotaSettings, quotaTable } from "./model.ts";

export default {
  name: "quotas",
  about: "how many of each resource a project may have",
  settings: quotaSettings,
  tables: [quotaTable],
  resources,
  extendAll,
  aliases,
} satisfies App;
