export { Asked } from "./asked.ts";
export { countedRules, countingRules, droppingRules, FlowCounter } from "./flow-counts.ts";
export { Claims } from "./claims.ts";
export { Exchanges, machineExchanges, type ExchangeNetwork } from "./exchanges.ts";
export { machineHttp, Outbound, type HttpClient } from "./outbound.ts";
export { Packets } from "./packets.ts";
export { Services } from "./services.ts";
export { Share } from "./share.ts";
