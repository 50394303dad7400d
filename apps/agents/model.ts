// What other apps may know of agents: hosts in their roles, and how an app shows what its hosts serve.
export * from "./hosts.ts";
export { servedBy, type Served } from "./served.ts";
