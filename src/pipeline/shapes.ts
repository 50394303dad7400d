// Shapes: flows with places for numbers and addresses. A shape is called once with placeholders, to see that it does nothing with
// what it is given but place it; so what trace, plan and documentation read of it is what every flow of it is.
import type { FlowSpec, Shape } from "#app";

/** Placeholders and the values they stand for. */
const names = new WeakMap<object, string>();

/** The name of the value that a placeholder stands for; undefined: it is none. */
export const placeholderName = (value: unknown): string | undefined => (typeof value === "object" && value !== null ? names.get(value) : undefined);

/**
 * The shape's flow with placeholders where values go.
 * @throws Error naming the shape and the value that it computes with or decides by
 */
export function outline(shape: Shape): FlowSpec {
  const of = `shape ${shape.name} of table ${shape.table}`;
  const reads = new Map<string, number>();
  const places = new Proxy({}, {
    get: (_, key) => {
      if (typeof key !== "string") return undefined;
      reads.set(key, (reads.get(key) ?? 0) + 1);
      return placeholder(key, of);
    },
    // What names there are, only a value knows.
    ownKeys: () => misused(of, "the names of its values"),
    has: (_, key) => misused(of, String(key)),
  });
  const spec = (shape.make as (value: unknown) => FlowSpec)(places);
  // Comparing and asking for truth leave no trace but this.
  const placed = new Map<string, number>();
  count(spec, placed);
  for (const [name, times] of reads) if ((placed.get(name) ?? 0) < times) misused(of, name);
  return spec;
}

/** Stands for a value: nothing can be done with it but to put it somewhere. */
function placeholder(name: string, of: string): object {
  const misuse = (): never => misused(of, name);
  const made = new Proxy({}, { get: misuse, has: misuse, ownKeys: misuse });
  names.set(made, name);
  return made;
}

function misused(of: string, what: string): never {
  throw new Error(`${of} computes with ${what}: a shape only says where a value goes; compute and decide before`);
}

/** How often which placeholder is in a value. */
function count(value: unknown, into: Map<string, number>): void {
  if (typeof value !== "object" || value === null) return;
  const name = names.get(value);
  if (name !== undefined) into.set(name, (into.get(name) ?? 0) + 1);
  else for (const part of Object.values(value)) count(part, into);
}
