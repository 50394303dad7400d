// Answers as JSON text. Integers that a number cannot hold, such as how many addresses an IPv6 subnet has, are bigints here and integers there.

/** Plain data, which has no toJSON and no circle, as JSON.stringify would if it took bigints. */
function exact(value: unknown): string | undefined {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map((item) => exact(item) ?? "null").join(",")}]`;
  const members = Object.entries(value).flatMap(([key, member]) => {
    const text = exact(member);
    return text === undefined ? [] : [`${JSON.stringify(key)}:${text}`];
  });
  return `{${members.join(",")}}`;
}

/** Plain data as JSON; bigints exactly, as integers. What has none costs what JSON.stringify costs. */
export function jsonText(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof TypeError && error.message.includes("BigInt")) return exact(value)!;
    throw error;
  }
}

/**
 * Members of an object as JSON text, put together one by one. An object that is filled by names of variables becomes a dictionary when it has more than
 * some fifteen of them: slow to make, and slow to make text of.
 */
export class Members {
  /** `"a":1,"b":2`, without braces. */
  text = "";

  /** Nothing of an undefined value, as JSON.stringify does. */
  add(name: string, value: unknown): void {
    if (value === undefined) return;
    const text = value === true || value === false || value === null ? String(value) : jsonText(value);
    this.text += this.text === "" ? `${quoted(name)}:${text}` : `,${quoted(name)}:${text}`;
  }
}

/** Names of attributes, of which there are some hundred. */
const QUOTED_MAX = 10_000;
const names = new Map<string, string>();

function quoted(name: string): string {
  let text = names.get(name);
  if (text === undefined) {
    text = JSON.stringify(name);
    if (names.size < QUOTED_MAX) names.set(name, text);
  }
  return text;
}
