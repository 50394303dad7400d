// `axion store accept`: lets switches that are held be made what is stored.
import type { Command } from "commander";
import type { Call } from "../call.ts";
import { UsageError } from "../../lib/usage-error.ts";

/** Adds the command below `axion store`. */
export function addAccept(store: Command, call: () => Call, finish: (code: number) => void): void {
  store
    .command("accept")
    .description("let switches that are held be made what is stored, whatever that removes from them")
    .option("--switch <id>", "one switch; default: all that are held now")
    .action(async ({ switch: id }: { switch?: string }) => finish(await accept(call(), id)));
}

/** Exit code 1 when no switch is held. */
async function accept({ api, json, write }: Call, id: string | undefined): Promise<number> {
  if (id === "") throw new UsageError("--switch is empty");
  const { body } = await api.post("/store/accept", { switch: id });
  const { accepted: list } = body as { accepted?: unknown };
  const accepted = Array.isArray(list) ? list.filter((one): one is string => typeof one === "string") : [];
  if (json) await write(`${JSON.stringify({ accepted })}\n`);
  else await write(accepted.length === 0 ? "no switch is held\n" : `${accepted.length} ${accepted.length === 1 ? "switch is" : "switches are"} made what is stored: ${accepted.join(", ")}\n`);
  return accepted.length === 0 ? 1 : 0;
}
