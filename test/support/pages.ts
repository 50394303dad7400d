// Pages whose commands are run: what is typed, and what it has to show.

export interface Step {
  /** The heading that it stands under; "" before the first. */
  readonly section: string;
  readonly commands: string;
  /** Lines that have to be there, in this order; "..." and runs of blanks are anything of a line. */
  readonly shows: readonly string[];
}

/** The blocks marked as `sh` of a page in Markdown, each with that marked as `text` right after it. */
export function stepsOf(page: string): readonly Step[] {
  const [intro = "", ...sections] = page.split(/^## /m);
  return [`\n${intro}`, ...sections].flatMap((section) => Array.from(section.matchAll(/^```sh\n([^]*?)^```\n(?:```text\n([^]*?)^```\n)?/gm), ([, commands = "", shows = ""]) => (
    { section: section.split("\n", 1)[0]!, commands, shows: shows.split("\n").filter((line) => line !== "") })));
}

/** The first line that is not there after those before it; undefined: all are. */
export function missingLine(output: string, wanted: readonly string[]): string | undefined {
  const lines = output.split("\n");
  let at = 0;
  for (const line of wanted) {
    const pattern = new RegExp(`^${line.trim().split(/\.\.\.+/).map((part) => part.trim().replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/ +/g, " +")).join(".*")}`);
    while (at < lines.length && !pattern.test(lines[at]!.trim())) at++;
    if (at++ >= lines.length) return line;
  }
  return undefined;
}
