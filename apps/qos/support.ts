// What hosts cannot keep is not asked of them.
import { conflict, type ReadView } from "#app";
import { minimumBandwidthTable, type QosUse } from "./model.ts";

const ERRORS = { port: "QosRuleNotSupported", network: "QosRuleNotSupportedByNetwork" } as const;

/** @throws ApiError 409 for a policy with rules that no host keeps */
export function checkSupported(view: ReadView, policyId: string, { kind, id }: Pick<QosUse, "kind" | "id">): void {
  if (view.count(minimumBandwidthTable, "policy", policyId) > 0) throw conflict(ERRORS[kind], `Rule minimum_bandwidth is not supported by ${kind} ${id}`);
}
