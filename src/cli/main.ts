// The process of `axion`: its output and its exit code.
import { once } from "node:events";
import { runCommand } from "./program.ts";

// Whoever reads may have had enough: `axion flows | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

process.exitCode = await runCommand(process.argv.slice(2), {
  write: async (text) => {
    if (!process.stdout.write(text)) await once(process.stdout, "drain");
  },
  // https://no-color.org
  color: process.stdout.isTTY && (process.env.NO_COLOR ?? "") === "",
  columns: process.stdout.isTTY ? process.stdout.columns : undefined,
  error: (text) => void process.stderr.write(text),
});
