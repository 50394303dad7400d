// For the tests of commands that show a list: a listener that says what a test gives it, and commands run against it.
import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll } from "vitest";
import { runCommand } from "../program.ts";

export interface Listener {
  /** Paths with queries that it was asked for. */
  readonly asked: string[];
  /** What it answers, as JSON. */
  answer: unknown;
  /** Why that has nothing in it. */
  why?: string | undefined;
  run(...argv: string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }>;
}

/** Listens while the tests of the file run. */
export function listener(): Listener {
  let url = "";
  const it: Listener = {
    asked: [],
    answer: [],
    async run(...argv) {
      let [out, err] = ["", ""];
      const code = await runCommand(["--ops-url", url, ...argv], { write: (text) => ((out += text), Promise.resolve()), error: (text) => (err += text) });
      return { code, out, err };
    },
  };
  const server = http.createServer((request, response) => {
    it.asked.push(request.url!);
    response.setHeader("content-type", "application/json");
    if (it.why !== undefined) response.setHeader("x-axion-why-empty", it.why);
    response.end(JSON.stringify(it.answer));
  });
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => server.close());
  return it;
}
