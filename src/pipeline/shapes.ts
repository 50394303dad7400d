// Shapes: flows with places for numbers and addresses. A shape is called once with placeholders, to see that it does nothing with
// what it is given but place it; so what trace, plan and documentation read of it is what every flow of it is.
import type { FlowSpec, Shape } from "#app";

/** Stands for a value of a shape's argument; whoever computes with it is told. */
class Placeholder {
  readonly name: string;
  private readonly shape: string;

  constructor(name: string, shape: string) {
    this.name = name;
    this.shape = shape;
  }

  [Symbol.toPrimitive](): never {
    throw new Error(`${this.shape} computes with ${this.name}: a shape only says where a value goes; compute it before`);
  }
}

export class Shapes {
  private readonly known = new Map<Shape, FlowSpec>();

  /** The flow of a shape for one value. @throws Error when the shape is no shape */
  fill(shape: Shape, value: unknown): FlowSpec {
    if (!this.known.has(shape)) this.known.set(shape, outline(shape));
    return (shape.make as (value: unknown) => FlowSpec)(value);
  }

  /** Shapes that were used so far, each with placeholders in place of values. */
  outlines(): ReadonlyMap<Shape, FlowSpec> {
    return this.known;
  }
}

/** The shape's flow with placeholders where values go. @throws Error naming the shape and the value it computes with */
export function outline(shape: Shape): FlowSpec {
  const name = `shape ${shape.name} of table ${shape.table}`;
  const places = new Proxy({}, { get: (_, key) => (typeof key === "string" ? new Placeholder(key, name) : undefined) });
  return (shape.make as (value: unknown) => FlowSpec)(places);
}
