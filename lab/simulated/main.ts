// A process of simulated hosts: told which by the first line on standard input (JSON, an array of SimulatedOptions), it answers each further line
// with the state of all of them, as a line of JSON, and ends with its input.
import { createInterface } from "node:readline";
import { SimulatedHost, type SimulatedOptions } from "./host.ts";

const hosts: SimulatedHost[] = [];
let told = false;
/** All at one instant would be a thundering herd of the lab's own. */
const STAGGER_MS = 20;

createInterface({ input: process.stdin }).on("line", (line) => {
  if (!told) {
    told = true;
    const all = JSON.parse(line) as SimulatedOptions[];
    all.forEach((options, n) => setTimeout(() => hosts.push(new SimulatedHost(options)), n * STAGGER_MS));
    return;
  }
  process.stdout.write(`${JSON.stringify(hosts.map(({ state }) => state))}\n`);
}).on("close", () => process.exit(0));
