// The process kill.test.ts kills: eight lanes of conditional txns on one store; a line for each that was acknowledged,
// "<revision> <number>". Each txn writes a/<number>, b/<number> and its lane's counter, so that halves would show.

import { writeSync } from "node:fs";
import { openStore } from "../open.ts";

const LANES = 8;
const store = await openStore("level:", { dataDir: process.argv[2]! });
writeSync(1, `open ${store.revision}\n`);

async function run(lane: number): Promise<never> {
  for (;;) {
    const counter = await store.get(`lane/${lane}`);
    const turn = counter === undefined ? 0 : Number(counter.value.toString()) + 1;
    const number = turn * LANES + lane;
    const value = Buffer.from(`${number}`.repeat(1 + (number % 50)));
    const compares = [
      { key: `lane/${lane}`, modRevision: counter?.modRevision ?? 0 },
      { key: `a/${number}`, modRevision: 0 },
    ];
    const result = await store.txn(compares, [
      { put: `a/${number}`, value },
      { put: `b/${number}`, value },
      { put: `lane/${lane}`, value: Buffer.from(`${turn}`) },
    ]);
    if (!result.ok) throw new Error(`lane ${lane} lost ${result.failed}`);
    writeSync(1, `${result.revision} ${number}\n`);
  }
}

await Promise.all(Array.from({ length: LANES }, (_, lane) => run(lane)));
