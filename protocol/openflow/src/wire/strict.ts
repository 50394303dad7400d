// How severely a decoder judges. By default it asks for what the layout needs (lengths, types, classes) and keeps the rest as it
// came. Strict, it refuses what Open vSwitch 3.1 refuses, with the same error: prerequisites, ranges, zeroes, unknown extensions.
//
// Decoding never yields, so one switch that the outermost call sets is enough; it is off again before that call returns.

/** Options of every decode function. */
export interface DecodeOptions {
  /** Refuse what Open vSwitch 3.1 refuses. By default false: whatever is well-formed by its lengths is taken. */
  readonly strict?: boolean | undefined;
  /** Strict: whether the message that an error quotes is judged as well. By default it is not: that it is wrong is why it is quoted. */
  readonly inner?: boolean | undefined;
  /**
   * Strict: as Open vSwitch reads a message to show it (ovs-ofctl ofp-print), not to do what it says: of what a switch is asked, it
   * then passes over properties that it does not know.
   */
  readonly shown?: boolean | undefined;
}

/** loose: of a match only form and values count, as where a switch tells what a packet had. */
export const judging = { strict: false, loose: false, inner: false, shown: false };

/** Reads a match whose fields need no others before them. */
export function loosely<T>(decode: () => T): T {
  const before = judging.loose;
  judging.loose = true;
  try {
    return decode();
  } finally {
    judging.loose = before;
  }
}

/** Runs `decode` strictly or not, as the options say; without options as the call around it. */
export function judged<T>(options: DecodeOptions | undefined, decode: () => T): T {
  const { strict, inner, shown } = judging;
  judging.strict = options?.strict ?? strict;
  judging.inner = options?.inner ?? inner;
  judging.shown = options?.shown ?? shown;
  try {
    return decode();
  } finally {
    judging.strict = strict;
    judging.inner = inner;
    judging.shown = shown;
  }
}
