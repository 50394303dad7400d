// For tests only: the captured frames of vectors/, and what several test files share.

import { readFileSync } from "node:fs";

import { PacketError } from "../wire/errors.ts";

/** What an independent decoder read in a frame, field by field; a field may be there several times. */
export type Fields = ReadonlyMap<string, readonly string[]>;

function load(file: string): { frames: Map<string, Buffer>; fields: Map<string, Fields> } {
  const frames = new Map<string, Buffer>();
  const fields = new Map<string, Fields>();
  const text = readFileSync(new URL(`../../vectors/${file}`, import.meta.url), "utf8");
  for (const [, notes, name, body] of text.matchAll(/^((?:#=? .*\n)*)\[(.+)\]\n([0-9a-f\n]+)/gm)) {
    frames.set(name!, Buffer.from(body!.replaceAll("\n", ""), "hex"));
    const noted = [...notes!.matchAll(/^#= (\S+) (.*)$/gm)];
    fields.set(name!, new Map(noted.map(([, field, value]) => [field!, value!.split("|")])));
  }
  return { frames, fields };
}

export const frames: ReadonlyMap<string, Buffer> = load("frames.txt").frames;

/** Frames of more programs, with what tshark reads in them. */
export const captured = load("captured.txt");

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
