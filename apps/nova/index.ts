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
  problemKinds: {
    unheard: { cause: "Nova does not take what it is told of ports", cure: "look whether its API runs, --nova-url is its address, and the user of --keystone-user has the role admin or service there" },
  },
} satisfies App;
