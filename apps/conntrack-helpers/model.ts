// conntrack-helpers' entity: a protocol of which a router reads what its connections say.
import { defineTable, resourceHandle, type Row } from "#app";
import type { TranslatedHelper } from "../nat/model.ts";

export interface ConntrackHelper extends Row, Pick<TranslatedHelper, "protocol" | "port"> {
  readonly router_id: string;
  readonly helper: TranslatedHelper["alg"];
}
export const conntrackHelperTable = defineTable<ConntrackHelper>()("conntrack_helper", { resource: "conntrack_helper", indexes: { router: (h) => h.router_id } });
export const conntrackHelperResource = resourceHandle<ConntrackHelper>("conntrack_helper");
