// A process of simulated hosts: told which by the first line on standard input (JSON, an array of SimulatedOptions), it answers each further line
// with the state of all of them, as a line of JSON, and ends with its input.
import { createInterface } from "node:readline";
import { SimulatedHost, type SimulatedOptions } from "./host.ts";

const hosts: SimulatedHost[] = [];
let told = false;
/** All at one instant would be a thundering herd of the lab's own: hosts come as machines are started, the next when the earlier ones are served. */
const STAGGER_MS = 20;
const AT_ONCE = 24;

function begin(all: readonly SimulatedOptions[]): void {
  let coming: SimulatedHost[] = [];
  let next = 0;
  const timer = setInterval(() => {
    coming = coming.filter(({ served }) => !served);
    if (next === all.length) clearInterval(timer);
    else if (coming.length < AT_ONCE) {
      const host = new SimulatedHost(all[next++]!);
      hosts.push(host);
      coming.push(host);
    }
  }, STAGGER_MS);
}

createInterface({ input: process.stdin }).on("line", (line) => {
  if (!told) {
    told = true;
    begin(JSON.parse(line) as SimulatedOptions[]);
    return;
  }
  process.stdout.write(`${JSON.stringify(hosts.map(({ state }) => state))}\n`);
}).on("close", () => process.exit(0));
