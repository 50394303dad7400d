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
