// One kind of hostile peer in a thread of its own, so that what it costs to be hostile is not measured with what it does.
import { parentPort, workerData } from "node:worker_threads";
import { Attack, type Victim } from "../../lab/hostile/peer.ts";
import { allHostilePeers } from "../../lab/hostile/peers.ts";

export interface AttackData {
  /** Of allHostilePeers. */
  readonly index: number;
  readonly victim: Victim;
  readonly address: string;
}

const { index, victim, address } = workerData as AttackData;
const attack = new Attack(allHostilePeers[index]!, victim, address, true);
parentPort!.postMessage("begun");
// Whatever it is told: how many connections it has opened, and the end.
parentPort!.once("message", () => {
  attack.stop();
  parentPort!.postMessage(attack.opened);
  parentPort!.close();
});
