// The error of whoever started a command: what was given cannot be used.

/** One line that names the flag, variable, key or argument at fault. The command ends with exit code 2. */
export class UsageError extends Error {
  readonly code = "USAGE";
  constructor(message: string) {
    super(message.replace(/\p{Cc}+/gu, " "));
    this.name = "UsageError";
  }
}
