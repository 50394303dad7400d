// Name servers that did not answer lately.
import type { AppProblem, LiveView } from "#app";
import { nameServerTroubleTable } from "./model.ts";

export function problems(view: LiveView): AppProblem[] {
  return view.facts(nameServerTroubleTable).map(({ text }) => ({
    kind: "name_server_silent", severity: "warning", text: `machines that ask for names of the outside wait or get none: ${text}`,
    cure: { text: "look whether the name server runs and answers this machine, or name others by --dns-forwarders" },
  }));
}
