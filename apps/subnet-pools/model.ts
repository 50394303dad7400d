// What other apps may know of subnet pools: the rows, and how something else than a subnet takes a prefix of one and gives it back.
export { choose, claim, giveUp } from "./allocation.ts";
export { pooledSubnetTable, poolUseTable, subnetPoolResource, subnetPoolTable, type PooledSubnet, type PoolUse, type SubnetPool } from "./pools.ts";
export { resized } from "./prefixes.ts";
