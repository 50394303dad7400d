// A client of the API in a thread of its own (api-client.ts), from the side of who measures.
import type { Worker } from "node:worker_threads";
import type { ClientMessage, Job, JobResult } from "./api-client.ts";

/** Has a client's thread do a job; its end, or why it failed. */
export function askClient(worker: Worker, job: Job): Promise<JobResult> {
  return new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.once("message", (message: ClientMessage) => {
      worker.off("error", reject);
      if ("ok" in message) resolve(message.ok);
      else reject(new Error(message.failed));
    });
    worker.postMessage(job);
  });
}
