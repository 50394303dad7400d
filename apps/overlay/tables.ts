// The way out to other chassis.
import type { PipelineDecl } from "#app";

export const pipeline = {
  tables: {
    tunnel_out: { stage: "locate", miss: "drop", about: "chassis -> encapsulation and tunnel endpoint" },
  },
} as const satisfies PipelineDecl;
