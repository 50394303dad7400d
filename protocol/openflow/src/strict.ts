// How severely a decoder judges. By default it asks for what the layout needs (lengths, types, classes) and keeps the rest as it
// came. Strict, it refuses what Open vSwitch 3.1 refuses, with the same error: prerequisites, ranges, zeroes, unknown extensions.
//
// Decoding never yields, so one switch that the outermost call sets is enough; it is off again before that call returns.

/** Options of every decode function. */
export interface DecodeOptions {
  /** Refuse what Open vSwitch 3.1 refuses. By default false: whatever is well-formed by its lengths is taken. */
  readonly strict?: boolean | undefined;
}

export const judging = { strict: false };

/** Runs `decode` strictly or not, as the options say; without options as the call around it. */
export function judged<T>(options: DecodeOptions | undefined, decode: () => T): T {
  const strict = options?.strict ?? judging.strict;
  if (strict === judging.strict) return decode();
  judging.strict = strict;
  try {
    return decode();
  } finally {
    judging.strict = !strict;
  }
}
