export { checkTls, parseConfig, type Config, type Endpoint } from "./config.ts";
export { appsLeftOut, usage } from "./sources.ts";
export { unknownVariables } from "./environment.ts";
