// `axion complete`: names of what a running controller has, for completion in a shell.
import type { Call } from "../call.ts";
import type { Names } from "../completion.ts";

const MOST = 1000;

/** A line each. Hosts name themselves, and bash expands what it is offered: a name with more than letters, digits, `.`, `_` and `-` is left out. */
export async function complete({ api, write }: Call, of: Names): Promise<number> {
  const { body } = await api.get(of === "switches" ? "/switches" : "/pipeline");
  const listed = (body as Readonly<Record<string, unknown>> | null)?.[of];
  const names = (Array.isArray(listed) ? (listed as readonly unknown[]) : []).map((one) => (typeof one === "object" && one !== null ? ((one as { name?: unknown }).name ?? (one as { id?: unknown }).id) : one));
  await write(names.filter((name): name is string => typeof name === "string" && /^[\w.][\w.-]*$/.test(name)).slice(0, MOST).map((name) => `${name}\n`).join(""));
  return 0;
}
