import type { App } from "#app";
import { aliases, resources } from "./api.ts";

export default {
  name: "ip-availability",
  about: "how many addresses networks have, and how many are taken",
  requires: ["l2", "ipam"],
  resources,
  aliases,
} satisfies App;
