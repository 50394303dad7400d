import { describe, expect, test } from "vitest";
import { refusedAtDoor, type Door } from "./door.ts";

const local: Door = { hosts: new Set(["net.example"]), origins: new Set(["https://ui.example"]), links: false };
const open: Door = { ...local, hosts: undefined };
const ask = (door: Door, headers: Record<string, string>, method = "GET"): string | undefined => refusedAtDoor(door, method, headers);

describe("Host", () => {
  test.each([
    "localhost", "LocalHost:9696", "localhost.", "a.localhost:1", "127.0.0.1", "127.0.0.1:9696", "127.8.9.10:1", "[::1]", "[::1]:9696", "net.example", "Net.Example:443",
  ])("%s: let in", (host) => expect(ask(local, { host })).toBeUndefined());
  test.each([
    "evil.example", "evil.example:9696", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1.nip.io:9696", "10.0.0.1", "192.0.2.1:9696", "[fd00::1]:9696", "0.0.0.0:9696", "128.0.0.1",
    "", "localhost@evil.example", "localhost evil", "localhost:9696:1", "[::1", "xnet.example",
  ])("%j: refused", (host) => {
    expect(ask(local, { host })).toMatch(/^The Host header says /);
    expect(ask(open, { host })).toBeUndefined();
  });
  test("none, as of HTTP/1.0: let in", () => expect(ask(local, {})).toBeUndefined());
});

describe("a page", () => {
  test.each(["https://ui.example", "http://localhost:9696"])("of %s: let in", (origin) => expect(ask(local, { host: "localhost:9696", origin }, "POST")).toBeUndefined());
  test.each(["https://evil.example", "http://ui.example", "http://localhost:3000", "http://localhost", "null", "", "x", "https://localhost:9696.evil.example"])("of %j: refused", (origin) => {
    expect(ask(local, { host: "localhost:9696", origin }, "POST")).toMatch(/^A web page of /);
    expect(ask(open, { host: "10.0.0.1:9696", origin }, "POST")).toMatch(/^A web page of /);
  });
  test.each(["same-origin", "none"])("without Origin, from %s: let in", (site) => expect(ask(local, { host: "localhost", "sec-fetch-site": site })).toBeUndefined());
  test.each(["cross-site", "same-site"])("without Origin, from %s: refused; a link where links may lead here", (site) => {
    const link = { host: "localhost", "sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };
    expect(ask(local, { host: "localhost", "sec-fetch-site": site })).toMatch(/^A web page of another origin/);
    expect(ask(local, link)).toMatch(/^A web page of another origin/);
    const door = { ...local, links: true };
    expect(ask(door, link)).toBeUndefined();
    expect(ask(door, link, "POST")).toMatch(/^A web page of another origin/);
    expect(ask(door, { ...link, "sec-fetch-dest": "iframe" })).toMatch(/^A web page of another origin/);
    expect(ask(door, { ...link, "sec-fetch-mode": "no-cors" })).toMatch(/^A web page of another origin/);
  });
});
