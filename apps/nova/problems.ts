// That Nova does not hear, as long as it is so.
import type { AppProblem, LiveView } from "#app";
import { novaSettings, novaTroubleTable } from "./model.ts";

export function problems(view: LiveView): AppProblem[] {
  return view.facts(novaTroubleTable).map(({ text }) => ({
    kind: "unheard", severity: "error", text: `Nova at ${view.settings(novaSettings)["nova-url"] ?? ""} is not told of its servers' ports: ${text}`,
    cure: { text: "look whether Nova's API runs, whether --nova-url is its address, and whether the user of --keystone-user has the role admin or service there" },
  }));
}
