import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, onTestFinished, test } from "vitest";

import { buildArp, parseArp } from "./ethernet/arp.ts";
import { buildEthernet, parseEthernet } from "./ethernet/ethernet.ts";
import * as face from "./index.ts";

const packageDirectory = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(join(packageDirectory, "README.md"), "utf8");

test("the example of the README answers for its address and for no other", async () => {
  const example = /```ts\n([^]*?)```/.exec(readme)![1]!;
  mkdirSync(join(packageDirectory, "dist"), { recursive: true });
  const directory = mkdtempSync(join(packageDirectory, "dist", "readme-"));
  onTestFinished(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  writeFileSync(join(directory, "example.ts"), example.replace('"packet-codec"', '"../../src/index.ts"'));
  const { answer } = (await import(join(directory, "example.ts"))) as { answer: (frame: Uint8Array, mac: string) => Buffer | undefined };

  const [asker, mac] = ["fa:16:3e:00:00:01", "fa:16:3e:00:00:02"];
  const ask = (tpa: string): Buffer => buildEthernet(
    { dst: "ff:ff:ff:ff:ff:ff", src: asker, ethertype: 0x0806 }, buildArp({ op: 1, sha: asker, spa: "192.0.2.9", tha: "00:00:00:00:00:00", tpa }),
  );
  const eth = parseEthernet(answer(ask("192.0.2.1"), mac)!);
  expect(eth).toMatchObject({ dst: asker, src: mac });
  expect(parseArp(eth.payload)).toEqual({ op: 2, sha: mac, spa: "192.0.2.1", tha: asker, tpa: "192.0.2.9" });
  expect(answer(ask("192.0.2.2"), mac)).toBeUndefined();
});

test("the README names functions that exist, and all parsers and builders", () => {
  const named = new Set([...readme.matchAll(/`((?:parse|build)\w+)/g)].map((match) => match[1]!));
  for (const name of named) expect([name, name in face]).toEqual([name, true]);
  // "..." in the table stands for these.
  const family = /^(parse|build)(Router|Neighbour|Redirect|Duid|Echo)/;
  for (const name of Object.keys(face).filter((key) => /^(parse|build)/.test(key) && !family.test(key))) expect(named).toContain(name);
});
