import type { App } from "#app";
import { novaSettings, novaTroubleTable } from "./model.ts";
import { notifier } from "./notifier.ts";
import { problems } from "./problems.ts";

export default {
  name: "nova",
  about: "what Nova waits for: events of its servers when their ports are plugged, unplugged, changed or deleted",
  requires: ["l2"],
  softTables: [novaTroubleTable],
  settings: novaSettings,
  services: [notifier],
  problems,
} satisfies App;
