// The tenant API. createNorthbound derives all of it from the apps' declarations.
export { rolesOf, type Authenticator } from "./auth/authenticator.ts";
export { KeystoneAuth } from "./auth/keystone.ts";
export { TokenFile } from "./auth/tokens.ts";
export { errorBody } from "./faces/v2.ts";
export { createNorthbound, type Northbound, type NorthboundOptions } from "./http.ts";
export type { Limits } from "./wire/limits.ts";
export { callsOfOperator, plansOfOperator } from "./plans/operator.ts";
export { formatPolicy, shownPolicy, type PolicyBook } from "./policy/index.ts";
export { apiMarkdown } from "./description/docs.ts";
export { openApi } from "./description/openapi.ts";
export type { Kind, Registry } from "./kinds.ts";
export { makeRegistry, ordered } from "./registry.ts";
