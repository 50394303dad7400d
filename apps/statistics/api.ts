// The attribute `axion:statistics` of ports, routers and floating IPs.
import { extendResource, reference, resourceHandle, type Alias, type Row } from "#app";
import { statisticsOf, STATISTICS } from "./counters.ts";
import { COUNTERS, countedOf, countedResources, partsOf, resourceCountTable, tables, type CountedResource } from "./model.ts";

const ABOUT: Readonly<Record<CountedResource, string>> = {
  port: "What the machine behind it has `received` and `sent`",
  router: "What it has `routed`, each packet once, where it came from",
  floatingip: "What was `received` for it from outside, and `sent` there in its name",
};

export const extend = countedResources.map((resource) => extendResource(resourceHandle<Row>(resource), {
  attributes: {
    [STATISTICS]: { type: "object", about: `${ABOUT[resource]}: \`packets\`, and \`bytes\` of these, null where that is not known; \`complete\`: whether every host concerned said; \`since\` and \`looked_at\`.`, onRequest: true, alias: "axion-statistics" },
  },
  presentOnRequest: (view, { id }) => ({ [STATISTICS]: statisticsOf(view, resource, id) }),
  remove(tx, { id }) {
    for (const counter of COUNTERS[resource]) tx.delete(resourceCountTable, countedOf(resource, counter, id));
  },
}));
export const references = countedResources.map((resource) => reference(resourceCountTable, {
  to: tables[resource], ids: (count) => (partsOf(count.id).resource === resource ? partsOf(count.id).id : undefined), gone: (tx, count) => tx.delete(resourceCountTable, count.id),
}));
export const aliases: readonly Alias[] = [{ alias: "axion-statistics", name: "Statistics", description: "Ports, routers and floating IPs show what they have counted.", updated: "2026-11-30T00:00:00-00:00" }];
