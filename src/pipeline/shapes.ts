// Shapes: flows with places for numbers and addresses. A shape is called once with placeholders, to see that it does nothing with
// what it is given but place it; so what trace, plan and documentation read of it is what every flow of it is.
import type { FlowSpec, Shape } from "#app";

/** Stands for a value of a shape's argument; whoever computes with it is told. */
export class Placeholder {
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

/** The shape's flow with placeholders where values go. @throws Error naming the shape and the value it computes with */
export function outline(shape: Shape): FlowSpec {
  const name = `shape ${shape.name} of table ${shape.table}`;
  const places = new Proxy({}, { get: (_, key) => (typeof key === "string" ? new Placeholder(key, name) : undefined) });
  return (shape.make as (value: unknown) => FlowSpec)(places);
}
