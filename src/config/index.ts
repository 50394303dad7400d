export { checkTls, parseConfig, type Config, type Endpoint } from "./config.ts";
export { usage } from "./sources.ts";
