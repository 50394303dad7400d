// Which subnets a port may have addresses of, as other apps say it.
import { defineQuestion, type ApiContext, type ReadView } from "#app";
import type { Port } from "../l2/model.ts";
import type { Subnet } from "./subnets.ts";

/**
 * Asked before a port gets addresses: of these subnets of its network those that it may have them of where it is, or shall be. `asked`: those that
 * the caller named, [] if he wants none but what a port has anyway; undefined: he leaves it to us. "later": it is not known yet where the port is,
 * which is an answer where he does. May refuse. Without an answer all are.
 */
export const placedSubnets = defineQuestion<(view: ReadView, port: Port, subnets: readonly Subnet[], asked: readonly Subnet[] | undefined) => readonly Subnet[] | "later">("placed_subnets");

export function placed(view: ReadView, ctx: Pick<ApiContext, "ask">, port: Port, subnets: readonly Subnet[], asked: readonly Subnet[] | undefined): readonly Subnet[] | "later" {
  let left = subnets;
  for (const answer of ctx.ask(placedSubnets, view, port, subnets, asked)) {
    if (answer === "later") return answer;
    left = left.filter((s) => answer.includes(s));
  }
  return left;
}
