// What is wrong now, in one shape for every part that can find something: GET /problems lists them, worst first.

const severities = ["critical", "error", "warning"] as const;
export type Severity = (typeof severities)[number];

export interface Problem {
  /** What sort of thing, for programs: plain_tcp, flow_refused, identity ... */
  readonly kind: string;
  readonly severity: Severity;
  /** RFC 3339: since when it is known. */
  readonly since: string;
  readonly text: string;
  /** API resources concerned. */
  readonly resources: readonly { readonly type: string; readonly id: string; readonly name?: string }[];
  /** Ids of chassis concerned. */
  readonly switches: readonly string[];
  readonly cure: { readonly text: string };
}

/** Worst first, then the oldest. */
export const worstFirst = (problems: Iterable<Problem>): Problem[] =>
  [...problems].sort((a, b) => severities.indexOf(a.severity) - severities.indexOf(b.severity) || (a.since < b.since ? -1 : a.since > b.since ? 1 : 0));
