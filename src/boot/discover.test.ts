// Finding apps in real folders, and the order they get.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { App } from "../app/contract.ts";
import { UsageError } from "../lib/usage-error.ts";
import { discoverApps, orderApps } from "./discover.ts";
import { appsFolder } from "../../test/support/harness.ts";

const root = mkdtempSync(join(tmpdir(), "axion-apps-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let count = 0;
/** A folder with these files; its path. */
function folder(files: Record<string, string>): string {
  const path = join(root, String(count++));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(path, name, ".."), { recursive: true });
    writeFileSync(join(path, name), text);
  }
  return path;
}

const manifest = (name: string, requires: readonly string[] = [], partOf?: string | readonly string[]): string => `export default ${JSON.stringify({ name, about: "", requires, partOf })};\n`;
const names = (apps: readonly App[]): string[] => apps.map((a) => a.name);

describe("discovery", () => {
  test("takes every folder with an index; not files, not folders without one, not those that begin with _ or .", async () => {
    const path = folder({
      "b/index.js": manifest("b"), "a/index.js": manifest("a"), "notes.txt": "", "empty/readme.txt": "", "_template/index.js": manifest("_template"), ".git/index.js": "throw 1",
    });
    expect(names(await discoverApps(path))).toEqual(["a", "b"]);
  });

  test("follows a link to an app that lives elsewhere", async () => {
    const elsewhere = folder({ "mine/index.js": manifest("mine") });
    const path = folder({ "a/index.js": manifest("a") });
    symlinkSync(join(elsewhere, "mine"), join(path, "mine"));
    expect(names(await discoverApps(path))).toEqual(["a", "mine"]);
  });

  test("an empty folder is a controller without network functions", async () => {
    expect(await discoverApps(folder({ "x.txt": "" }))).toEqual([]);
  });

  test.each([
    ["no default export", "export const x = 1;\n", /apps\/a\/index must export an App named a as default, not nothing/],
    ["another name", manifest("z"), /apps\/a\/index must export an App named a as default, not z/],
    ["a module that throws", 'throw new Error("cannot begin");\n', /cannot begin/],
    ["a requirement that is not there", manifest("a", ["l2"]), /app a requires l2, which is not there/],
  ])("%s ends it with a line that says so", async (_name, text, message) => {
    await expect(discoverApps(folder({ "a/index.js": text }))).rejects.toThrow(message);
  });

  describe("of disabled apps", () => {
    const path = folder({ "a/index.js": manifest("a"), "b/index.js": manifest("b", ["a"]), "c/index.js": manifest("c", ["a", "b"]), "broken/index.js": 'throw new Error("was loaded");\n' });

    test("loads nothing", async () => {
      expect(names(await discoverApps(path, ["broken"]))).toEqual(["a", "b", "c"]);
      expect(names(await discoverApps(path, ["c", "broken", "b"]))).toEqual(["a"]);
    });

    test("leaves out what is part of them", async () => {
      const partly = folder({ "a/index.js": manifest("a"), "b/index.js": manifest("b", ["a"], "a"), "c/index.js": manifest("c", ["b"], "b"), "d/index.js": manifest("d") });
      expect(names(await discoverApps(partly))).toEqual(["a", "b", "c", "d"]);
      expect(names(await discoverApps(partly, ["a"]))).toEqual(["d"]);
      expect(names(await discoverApps(partly, ["b"]))).toEqual(["a", "d"]);
      const both = folder({ "a/index.js": manifest("a"), "b/index.js": manifest("b"), "c/index.js": manifest("c", ["a", "b"], ["a", "b"]) });
      for (const [left, others] of [["a", ["b"]], ["b", ["a"]]] as const) expect(names(await discoverApps(both, [left]))).toEqual(others);
      await expect(discoverApps(folder({ "a/index.js": manifest("a"), "b/index.js": manifest("b", [], "a") }))).rejects.toThrow("app b is part of a, which it does not require");
    });

    test.each([
      [["broken", "a"], "--disable-app a: b, c require it; disable those as well"],
      [["broken", "a", "c"], "--disable-app a: b requires it; disable that as well"],
      [["broken", "ghost"], "--disable-app ghost: there is no app of that name; there are a, b, broken, c"],
    ])("%j: an error that names them", async (disabled, message) => {
      await expect(discoverApps(path, disabled)).rejects.toThrow(new UsageError(message));
    });
  });

  test("a folder that is not there is an error that names it", async () => {
    await expect(discoverApps(join(root, "nowhere"))).rejects.toThrow(/nowhere/);
  });

  test("finds the apps of this checkout, each after what it requires", async () => {
    const apps = await discoverApps(appsFolder);
    expect(names(apps)).toEqual(expect.arrayContaining(["l2", "ipam", "overlay", "dhcp", "l3", "security-groups"]));
    for (const [i, app] of apps.entries()) for (const needed of app.requires ?? []) expect(names(apps).indexOf(needed)).toBeLessThan(i);
  });
});

describe("order", () => {
  const app = (name: string, ...requires: string[]): App => ({ name, about: "", requires });

  test("requirements first, otherwise by name, whatever the order they were found in", () => {
    const apps = [app("d", "b"), app("a", "d"), app("c"), app("b", "e"), app("e")];
    const want = ["e", "b", "d", "a", "c"];
    expect(names(orderApps(apps))).toEqual(want);
    expect(names(orderApps([...apps].reverse()))).toEqual(want);
    expect(names(apps), "the list given is left alone").toEqual(["d", "a", "c", "b", "e"]);
  });

  test("a circle is named from end to end", () => {
    expect(() => orderApps([app("a", "b"), app("b", "c"), app("c", "a")])).toThrow("apps require each other in a circle: a -> b -> c -> a");
    expect(() => orderApps([app("a", "a")])).toThrow("a -> a");
  });
});
