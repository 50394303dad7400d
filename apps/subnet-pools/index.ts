import type { App } from "#app";
import { aliases, converters, extend, policies, references, resources } from "./api.ts";
import { pooledSubnetTable, poolUseTable, subnetPoolTable } from "./pools.ts";
import { spaceTable } from "./space.ts";

export default {
  name: "subnet-pools",
  about: "prefixes from which subnets take theirs",
  requires: ["l2", "ipam"],
  tables: [subnetPoolTable, pooledSubnetTable, poolUseTable, spaceTable],
  resources,
  references,
  extend,
  converters,
  aliases,
  policies,
} satisfies App;
