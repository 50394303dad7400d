// Why a test was skipped: what the condition that its file names stands for. vitest's report has only that it was.
import { readFileSync } from "node:fs";

const LONG_FORM = "the long form: npm run test:nightly";
/** By what stands in a condition of skipIf or runIf; the first that fits. */
const REASONS: readonly (readonly [condition: RegExp, reason: string])[] = [
  [/AXION_NIGHTLY|nightly/i, LONG_FORM],
  [/Lab\.missing/, "the lab is not possible here: it wants Linux, root and what scripts/install-deps.sh lab installs"],
  [/keystone|^missing\.length/i, "Keystone or its clients are not installed: scripts/install-deps.sh test"],
  [/ovsInstalled|haveOvs|ofctl/, "Open vSwitch is not installed: scripts/install-deps.sh lab"],
  [/haveVectors|recipe|recorded|existsSync\((shared|directory|malformed)\)/, "what other implementations say is not here: the folder ../shared, beside the clone"],
  [/fakeTime/, "libfaketime is not installed: scripts/install-deps.sh test"],
  [/haveEtcd/, "etcd is not installed: scripts/install-deps.sh test"],
  [/haveChromium/, "Chromium is not installed: scripts/install-deps.sh browser"],
  [/openssl/, "openssl is not installed"],
  [/machineMissing/, "a machine of its own is not possible here: it wants root and systemd: scripts/install-deps.sh test"],
  [/withGo/, "Go is not installed: npm run test:nightly installs it"],
  [/dist\//, "it is not built: npm run build"],
];

export interface Skip {
  readonly condition: string;
  /** What the names of the tests have in them that it is about. */
  readonly title: RegExp;
}

const SKIP = /\.(?:skipIf|runIf)\(((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*)\)[\s\S]{0,300}?\(\s*(["'`])((?:\\.|(?!\2)[^\\])*)\2/g;

/** The conditional tests and groups of a file's source. */
export function skipsOf(source: string): readonly Skip[] {
  return Array.from(source.matchAll(SKIP), ([, condition = "", , title = ""]) => ({
    condition,
    // What is filled in when the tests are made is not known here.
    title: new RegExp(title.split(/%[a-z]|\$\{[^}]*\}|\$\w+/).map((part) => part.replaceAll(/\\(.)/g, "$1").replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*")),
  }));
}

/** Undefined: nothing is known of such a condition. */
export const reasonOf = (condition: string): string | undefined => REASONS.find(([one]) => one.test(condition))?.[1];

/** Of a test that was skipped, by its file and its name with those of its groups. */
export function whySkipped(file: string, name: string): string {
  let source = "";
  try {
    source = readFileSync(file, "utf8");
  } catch {
    // said below
  }
  const [first, ...others] = skipsOf(source).flatMap(({ condition, title }) => (title.test(name) ? [reasonOf(condition) ?? condition] : []));
  // It may have a condition of its own within that of its group. The long form is left out for certain where it is not asked for.
  return first === undefined ? "its file does not say why" : others.includes(LONG_FORM) && process.env.AXION_NIGHTLY !== "1" ? LONG_FORM : first;
}
