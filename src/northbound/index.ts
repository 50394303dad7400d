// The tenant API. createNorthbound derives all of it from the apps' declarations.
export { createNorthbound, errorBody, rolesOf, type Authenticate, type Limits, type Northbound, type NorthboundOptions } from "./http.ts";
export { apiMarkdown } from "./description/docs.ts";
export { openApi } from "./description/openapi.ts";
export type { Kind, Registry } from "./kinds.ts";
export { makeRegistry, ordered } from "./registry.ts";
