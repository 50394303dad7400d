// The process around the command `openflow`.

import { runCommand } from "./command.ts";

// A reader that has seen enough (head) is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
process.exitCode = await runCommand(process.argv.slice(2), process);
