import type { App } from "#app";
import { plainFace } from "./face.ts";

export default {
  name: "plain",
  about: "networks as lines of text",
  requires: ["l2"],
  faces: [plainFace],
} satisfies App;
