// Shell completion, written from the declared commands: what --help shows is what completes.
import type { Command, Option } from "commander";

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

/** What a running controller has names of, by the option whose value they are. */
const asked: Readonly<Record<string, Names>> = { "--switch": "switches", "--table": "tables", "--app": "apps" };
/** `axion complete` prints them, and nothing that a shell would take for more than a word. */
export const namesOf = ["switches", "tables", "apps"] as const;
export type Names = (typeof namesOf)[number];
const ask = (names: Names): string => `axion complete ${names} 2>/dev/null`;

interface Completable {
  readonly name: string;
  readonly about: string;
  /** Words that may follow: values of its argument. */
  readonly words: readonly string[];
  readonly options: readonly Option[];
  /** Of the controller: what may follow besides. */
  readonly names?: Names;
}

function completables(program: Command): Completable[] {
  const help = program.createHelp();
  return help.visibleCommands(program).map((command) => ({
    name: command.name(),
    about: command.summary() || command.description(),
    words: command.name() === "help" ? help.visibleCommands(program).map((c) => c.name()) : [...command.commands.map((c) => c.name()), ...command.registeredArguments.flatMap((argument) => argument.argChoices ?? [])],
    options: [...help.visibleOptions(command), ...help.visibleOptions(program).filter((o) => !["--help", "--version"].includes(o.long!))],
    ...(command.name() === "switches" && { names: "switches" as const }),
  }));
}

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Options of one command with the values each can have. */
const choices = (commands: readonly Completable[]): { readonly command: string; readonly option: Option }[] =>
  commands.flatMap((c) => c.options.filter((o) => o.argChoices !== undefined).map((option) => ({ command: c.name, option })));
const askedFor = (commands: readonly Completable[]): { readonly command: string; readonly long: string; readonly names: Names }[] =>
  commands.flatMap((c) => c.options.flatMap((o) => (asked[o.long!] === undefined ? [] : [{ command: c.name, long: o.long!, names: asked[o.long!]! }])));
const takesValue = (commands: readonly Completable[]): string[] => [...new Set(commands.flatMap((c) => c.options.filter((o) => o.required).map((o) => o.long!)))];

/** The loop that finds the command among the words before the cursor; bash and zsh count words alike but for where they begin. */
const findCommand = (commands: readonly Completable[], words: string, first: number, cursor: string): string[] => [
  `  for ((i = ${first}; i < ${cursor}; i++)); do`,
  `    case "\${${words}[i]}" in`,
  `      ${takesValue(commands).join("|")}) ((i++)) ;;`,
  // Other words are pieces of values: bash breaks a URL at its colons.
  `      ${commands.map((c) => c.name).join("|")}) command="\${${words}[i]}"; break ;;`,
  "    esac",
  "  done",
];

function bash(commands: readonly Completable[], globals: readonly Option[]): string[] {
  return [
    "# axion completion for bash: source <(axion completion bash)",
    "_axion() {",
    '  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" command="" words="" i',
    ...findCommand(commands, "COMP_WORDS", 1, "COMP_CWORD"),
    '  case "$command $prev" in',
    ...choices(commands).map(({ command, option }) => `    "${command} ${option.long!}") words="${option.argChoices!.join(" ")}" ;;`),
    ...askedFor(commands).map(({ command, long, names }) => `    "${command} ${long}") words="$(${ask(names)})" ;;`),
    ...takesValue(commands).map((long) => `    *" ${long}") return ;;`),
    "    *)",
    '      case "$command" in',
    `        "") words="${[...commands.map((c) => c.name), ...globals.map((o) => o.long!)].join(" ")}" ;;`,
    ...commands.map((c) => `        ${c.name}) words="${[...c.words, ...c.options.map((o) => o.long!), ...(c.names === undefined ? [] : [`$(${ask(c.names)})`])].join(" ")}" ;;`),
    "      esac ;;",
    "  esac",
    '  COMPREPLY=($(compgen -W "$words" -- "$cur"))',
    "}",
    "complete -F _axion axion",
  ];
}

function zsh(commands: readonly Completable[], globals: readonly Option[]): string[] {
  const described = (name: string, about: string): string => quoted(`${name.replaceAll(":", "\\:")}:${about}`);
  const option = (o: Option): string => described(o.long!, o.description);
  return [
    "#compdef axion",
    "# axion completion for zsh: source <(axion completion zsh)",
    "_axion() {",
    '  local prev="${words[CURRENT-1]}" command="" i',
    "  local -a candidates",
    ...findCommand(commands, "words", 2, "CURRENT"),
    '  case "$command $prev" in',
    ...choices(commands).map((c) => `    "${c.command} ${c.option.long!}") candidates=(${c.option.argChoices!.join(" ")}) ;;`),
    ...askedFor(commands).map(({ command, long, names }) => `    "${command} ${long}") candidates=(\${(f)"$(${ask(names)})"}) ;;`),
    ...takesValue(commands).map((long) => `    *" ${long}") return ;;`),
    "    *)",
    '      case "$command" in',
    `        "") candidates=(${[...commands.map((c) => described(c.name, c.about)), ...globals.map(option)].join(" ")}) ;;`,
    ...commands.map((c) => `        ${c.name}) candidates=(${[...c.words.map(quoted), ...c.options.map(option), ...(c.names === undefined ? [] : [`\${(f)"$(${ask(c.names)})"}`])].join(" ")}) ;;`),
    "      esac ;;",
    "  esac",
    "  _describe -o axion candidates",
    "}",
    "compdef _axion axion",
  ];
}

function fish(commands: readonly Completable[], globals: readonly Option[]): string[] {
  const valuesOf = (o: Option): string => {
    const names = asked[o.long!];
    if (o.argChoices !== undefined) return ` -a ${quoted(o.argChoices.join(" "))}`;
    return names === undefined ? "" : ` -a ${quoted(`(${ask(names)})`)}`;
  };
  const flag = (condition: string, o: Option): string =>
    `complete -c axion -n ${quoted(condition)} -l ${o.long!.slice(2)}${o.required ? ` -x${valuesOf(o)}` : ""} -d ${quoted(o.description)}`;
  return [
    "# axion completion for fish: axion completion fish | source",
    "complete -c axion -f",
    ...commands.map((c) => `complete -c axion -n __fish_use_subcommand -a ${c.name} -d ${quoted(c.about)}`),
    ...globals.map((o) => flag("__fish_use_subcommand", o)),
    ...commands.flatMap((c) => {
      const seen = `__fish_seen_subcommand_from ${c.name}`;
      const words = [...c.words, ...(c.names === undefined ? [] : [`(${ask(c.names)})`])];
      return [...(words.length === 0 ? [] : [`complete -c axion -n ${quoted(seen)} -a ${quoted(words.join(" "))}`]), ...c.options.map((o) => flag(seen, o))];
    }),
  ];
}

export function completion(program: Command, shell: Shell): string {
  const commands = completables(program);
  const globals = program.createHelp().visibleOptions(program);
  return `${{ bash, zsh, fish }[shell](commands, globals).join("\n")}\n`;
}
