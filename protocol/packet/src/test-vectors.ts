// For tests only: the captured frames of vectors/frames.txt, and what several test files share.

import { readFileSync } from "node:fs";

import { PacketError } from "./errors.ts";

function load(): Map<string, Buffer> {
  const frames = new Map<string, Buffer>();
  const text = readFileSync(new URL("../vectors/frames.txt", import.meta.url), "utf8");
  for (const [, name, body] of text.matchAll(/^\[(.+)\]\n([0-9a-f\n]+)/gm)) {
    frames.set(name!, Buffer.from(body!.replaceAll("\n", ""), "hex"));
  }
  return frames;
}

export const frames: ReadonlyMap<string, Buffer> = load();

/** Frames in this test have a name in vectors/frames.txt. */
export function frame(name: string): Buffer {
  const bytes = frames.get(name);
  if (bytes === undefined) throw new Error(`no frame [${name}] in vectors/frames.txt`);
  return bytes;
}

/** Hex with any white space. */
export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ""), "hex");
}

/** 32 bit numbers, the same for the same seed (xorshift32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
}

export function randomBytes(random: () => number, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random() & 0xff));
}

/** What `decode` throws when that is a PacketError, undefined when it does not throw; anything else is a bug. */
export function failure(decode: () => unknown): PacketError | undefined {
  try {
    decode();
    return undefined;
  } catch (error) {
    if (error instanceof PacketError) return error;
    throw error;
  }
}
