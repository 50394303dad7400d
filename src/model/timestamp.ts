// The instant of a transaction as rows have it: RFC 3339 in seconds.

/** The second that was written last, for all that happens in it. */
let second = 0;
let secondText = "";

/** `ms`: since 1970. */
export function timestamp(ms: number): string {
  const s = Math.floor(ms / 1000);
  if (s !== second || secondText === "") {
    secondText = `${new Date(ms).toISOString().slice(0, 19)}Z`;
    second = s;
  }
  return secondText;
}
