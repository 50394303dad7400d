/** Values in messages of errors: as long as fits a line, whatever they are. */

/** A value as text for people, of which no more is made than is shown. */
export const show = (json: unknown): string => {
  const text = JSON.stringify(start(json, { left: 80 }), (_, v: unknown) => (typeof v === "bigint" ? v.toString() : v)) ?? "nothing";
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
};

/** As much of a value as fills `left` characters. */
function start(json: unknown, room: { left: number }): unknown {
  if (room.left <= 0) return null;
  room.left--;
  if (typeof json === "string") {
    room.left -= json.length;
    return json.slice(0, 80);
  }
  if (Array.isArray(json)) return json.slice(0, 80).map((element) => start(element, room));
  if (typeof json !== "object" || json === null || json instanceof Set || json instanceof Map) return json;
  const found: [string, unknown][] = [];
  for (const name in json) {
    if (room.left <= 0) break;
    room.left -= name.length;
    found.push([name.slice(0, 80), start((json as Record<string, unknown>)[name], room)]);
  }
  return Object.fromEntries(found);
}
