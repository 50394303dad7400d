// `axion history` by its words, on an answer of a controller.
import http from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { runCommand } from "../program.ts";

test("a list that goes on elsewhere says so beside the answer", async () => {
  const server = http.createServer((request, response) => {
    response.setHeader("content-type", "application/json");
    if (!request.url!.includes("until=3")) response.setHeader("x-axion-more-until", "3");
    response.end("[]");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const run = async (...argv: string[]): Promise<string[]> => {
    let [out, err] = ["", ""];
    await runCommand(["history", "--ops-url", `http://127.0.0.1:${(server.address() as AddressInfo).port}`, ...argv], {
      write: (text) => {
        out += text;
        return Promise.resolve();
      },
      error: (text) => (err += text),
    });
    return [out, err];
  };
  expect(await run("--json")).toEqual(["[]\n", "axion: there is more: --until 3\n"]);
  expect(await run("--json", "--until", "3")).toEqual(["[]\n", ""]);
  server.close();
});
