// JSON as strict readers take it: JSON.parse says nothing of a member that an object has twice, and takes the last.

const KEY = /"(?:[^"\\]|\\.)*"(\s*:)?/g;

const keysIn = (text: string): number => [...text.matchAll(KEY)].filter(([, colon]) => colon !== undefined).length;

const membersOf = (value: unknown): number =>
  typeof value !== "object" || value === null ? 0 : Object.values(value).reduce((sum: number, inner) => sum + membersOf(inner), Array.isArray(value) ? 0 : Object.keys(value).length);

/** The value of an answer. @throws Error where an object in it has a member twice */
export function strictJson(text: string): unknown {
  const value = JSON.parse(text) as unknown;
  if (keysIn(text) !== membersOf(value)) throw new Error(`a member is there twice: ${text.slice(0, 2000)}`);
  return value;
}
