/** The program `ovsdb`: the process around commands.ts. bin/ovsdb.js runs it compiled. */

import { run } from "./commands.ts";

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => { interrupted.abort(); });
// a reader that has seen enough, e.g. head, is no error
process.stdout.on("error", (error: NodeJS.ErrnoException) => { process.exit(error.code === "EPIPE" ? 0 : 1); });

process.exitCode = await run(process.argv.slice(2), {
  out: (text) => { process.stdout.write(text); },
  err: (text) => { process.stderr.write(text); },
  interrupted: interrupted.signal,
});
