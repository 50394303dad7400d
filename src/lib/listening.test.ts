import { expect, test } from "vitest";
import { isLoopbackName } from "./listening.ts";

test.each(["localhost", "x.localhost", "::1", "127.0.0.1", "127.9.8.7"])("%s is of this machine alone", (host) => {
  expect(isLoopbackName(host)).toBe(true);
});

test.each(["", "0.0.0.0", "::", "localhost.example", "127.example", "127.0.0.256", "128.0.0.1", "net.example"])("'%s' is not", (host) => {
  expect(isLoopbackName(host)).toBe(false);
});
