// Nova's metadata API that did not answer lately.
import type { AppProblem, LiveView } from "#app";
import { metadataTroubleTable } from "./model.ts";

export function problems(view: LiveView): AppProblem[] {
  return view.facts(metadataTroubleTable).map(({ text }) => ({
    kind: "nova_silent", severity: "error", text: `machines that ask for their metadata get none: ${text}`,
    cure: { text: "look whether Nova's metadata API runs and answers this machine, and --nova-metadata-url is its address" },
  }));
}
