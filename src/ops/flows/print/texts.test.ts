// What is kept of a dump for its next switches, and what is not.
import { expect, it } from "vitest";
import type { Flow } from "../../../compiler/desired.ts";
import { Texts } from "./texts.ts";

const flows = Array.from({ length: 40 }, (_, i) => ({ priority: i }) as Flow);
const LIMITS = { flows: 20, bytes: 400, block: 100 };

function ofSwitch(texts: Texts, those: readonly Flow[], length = 10): number {
  texts.nextSwitch();
  let found = 0;
  for (const flow of those) {
    const text = texts.of(flow);
    if (text === undefined) texts.keep(flow, Buffer.alloc(length + 3, flow.priority), 3, length);
    else {
      found++;
      expect(Buffer.from(text)).toEqual(Buffer.alloc(length, flow.priority));
    }
  }
  return found;
}

it("what the first switch has is found for the others, as much as there is room for", () => {
  const texts = new Texts(LIMITS);
  expect([1, 2, 3].map(() => ofSwitch(texts, flows.slice(0, 12)))).toEqual([0, 12, 12]);
  // Of forty there is room for twenty, the twelve among them: what is kept stays while a quarter is found.
  expect([1, 2, 3].map(() => ofSwitch(texts, flows))).toEqual([12, 20, 20]);
});

it("what is longer than a block is not kept, nor more blocks than there may be", () => {
  const texts = new Texts(LIMITS);
  expect([ofSwitch(texts, flows, 101), ofSwitch(texts, flows, 101)]).toEqual([0, 0]);
  // One in each of four blocks.
  expect([ofSwitch(texts, flows, 60), ofSwitch(texts, flows, 60)]).toEqual([0, 4]);
});

it("where it is full of what others do not have, it begins anew; and where anything changes", () => {
  const texts = new Texts(LIMITS);
  expect([ofSwitch(texts, flows.slice(0, 20)), ofSwitch(texts, flows.slice(20))]).toEqual([0, 0]);
  expect([ofSwitch(texts, flows.slice(20)), ofSwitch(texts, flows.slice(20))]).toEqual([0, 20]);
  texts.clear();
  expect(ofSwitch(texts, flows.slice(20))).toBe(0);
});
