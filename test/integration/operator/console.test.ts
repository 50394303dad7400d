// The console in a real browser, over a real controller with real switches: every view, by pointer, by keys and on a phone, with nothing in the
// browser's console and nothing serious for axe. Pictures for docs/ are taken when AXION_SCREENSHOTS names a folder.
import { execFileSync } from "node:child_process";
import { request } from "node:http";
import path from "node:path";
import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { repositoryRoot } from "../../../lab/controller.ts";
import { forwarded, haveChromium, inaccessible, launch, opened } from "../../support/browser.ts";
import { Cloud, type Instance, type Net } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";

let cloud: Cloud;
let browser: Browser;
let door: Awaited<ReturnType<typeof forwarded>>;
let web: Net;
let database: Net;
let vm: Instance;
let store: Instance;
beforeAll(async () => {
  if (!haveChromium) return;
  execFileSync("bash", ["-c", "source scripts/lib.sh; build_console"], { cwd: repositoryRoot() });
  [cloud, browser] = await Promise.all([Cloud.create({ hypervisors: 2 }), launch()]);
  door = await forwarded(cloud.controller.opsSocket);
  web = await cloud.network("10.1.0.0/24", {}, "shop");
  database = await cloud.network("10.2.0.0/24", {}, "shop");
  await cloud.router([web, database], "shop");
  vm = await cloud.instance(cloud.hv(1), web, { project: "shop", port: { name: "front" } });
  store = await cloud.instance(cloud.hv(2), database, { project: "shop", port: { name: "store" } });
  await cloud.network("10.3.0.0/24", {}, "blog");
});
afterAll(async () => {
  await browser?.close();
  door?.close();
  await cloud?.destroy();
});

const views = ["problems", "hosts", "map", "project", "flows", "tunnels", "rates", "history", "trace"] as const;
/** What shows that a view has what it shows. */
const SHOWN: Readonly<Record<(typeof views)[number], string>> = {
  problems: "main li.card, main p.good", hosts: "main tbody tr:nth-child(2)", map: "main .box canvas", project: "main form", flows: "main [role=gridcell]", tunnels: "main tbody tr", rates: "main form", history: "main li.card", trace: "main form",
};
async function look(page: Page, view: (typeof views)[number], query = ""): Promise<void> {
  await page.goto(`${door.url}/console/#/${view}${query}`);
  await page.waitForSelector(SHOWN[view]);
}
async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.AXION_SCREENSHOTS;
  if (folder !== undefined) await page.screenshot({ path: path.join(folder, `${name}.png`) });
}

describe.runIf(haveChromium)("the console", () => {
  test.each(["light", "dark"] as const)("shows every view without complaints, and nothing serious for axe (%s)", async (colorScheme) => {
    const { page, complaints } = await opened(browser, { colorScheme, viewport: { width: 1280, height: 800 } });
    for (const view of colorScheme === "light" || nightly ? views : (["problems", "flows"] as const)) {
      await look(page, view);
      // Of dark colours the contrast is another, and nothing else.
      expect(await inaccessible(page, colorScheme === "dark" ? ["color-contrast"] : undefined), view).toEqual([]);
      if (colorScheme === "light") await picture(page, view);
    }
    expect(complaints).toEqual([]);
    await page.context().close();
  }, 120_000);

  test("fits a phone: nothing is wider than the screen but what scrolls by itself", async () => {
    const { page, complaints } = await opened(browser, { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });
    for (const view of views) {
      await look(page, view);
      expect(await page.evaluate("document.documentElement.scrollWidth"), view).toBeLessThanOrEqual(360);
      if (view === "problems") expect(await inaccessible(page), view).toEqual([]);
    }
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("has the map as a picture and as a table, from projects to ports", async () => {
    const { page, complaints } = await opened(browser);
    await look(page, "map");
    await page.getByRole("link", { name: "shop" }).click();
    await page.waitForURL(/#\/map\?project=shop$/);
    await expect.poll(() => page.getByRole("link", { name: "blog" }).count()).toBe(0);
    await page.getByRole("link", { name: "net 10.1.0.0/24" }).click();
    await page.getByRole("link", { name: "front" }).waitFor();
    expect(await page.getByRole("row", { name: /^port front/ }).textContent()).toContain("at hv1");
    await expect.poll(() => page.getByRole("link", { name: "store" }).count()).toBe(0);
    // What is drawn is not one colour.
    const colours = new Set((await page.locator(".box").screenshot()).subarray(200));
    expect(colours.size).toBeGreaterThan(16);
    await page.getByRole("link", { name: "front" }).click();
    await page.waitForSelector(SHOWN.flows);
    expect(page.url()).toContain(`resource=${vm.port.id}`);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("follows flows as they change, and tells why each is there", async () => {
    const { page, complaints } = await opened(browser, { viewport: { width: 1100, height: 640 } });
    const port = await cloud.create("port", { network_id: web.network.id, name: "other" }, "shop");
    await page.goto(`${door.url}/console/#/flows?resource=${port.id}`);
    await page.getByText(/, live/).waitFor();
    const before = await page.getByRole("gridcell").count();
    await cloud.lab.addVm({ name: "vmlive", hypervisor: cloud.hv(2), portId: port.id, mac: port.mac_address as string, mtu: 1400 });
    await expect.poll(() => page.getByRole("gridcell").count(), { timeout: 15_000 }).toBeGreaterThan(before);
    await page.getByRole("gridcell").first().click();
    const chosen = page.getByRole("region", { name: "The flow that was chosen" });
    await chosen.getByRole("link", { name: "port other" }).or(chosen.getByRole("link", { name: `port ${port.id.slice(0, 8)}` })).first().waitFor();
    expect(await chosen.textContent()).toContain("POST /v2.0/ports");
    await chosen.getByRole("button").scrollIntoViewIfNeeded();
    await picture(page, "flow");
    await chosen.getByRole("link", { name: /generation \d+/ }).first().click();
    await page.waitForSelector(SHOWN.history);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("keeps what changes while the flows arrive: what came is there, what went is not", async () => {
    const { page, complaints } = await opened(browser);
    const paired = async (address: string): Promise<void> => {
      expect((await cloud.controller.api("PUT", `/v2.0/ports/${vm.port.id}`, { port: { allowed_address_pairs: [{ ip_address: address }] } })).status).toBe(200);
      await expect.poll(async () => JSON.stringify((await cloud.controller.ops("GET", `/flows?resource=${vm.port.id}`)).body)).toContain(address);
    };
    await paired("10.1.0.201");
    await page.route(/\/flows\?/, async (route) => {
      // The switch's flows of before, late.
      const response = await route.fetch();
      await paired("10.1.0.202");
      await page.getByText(/[1-9]\d* changes meanwhile/).waitFor();
      await route.fulfill({ response });
    }, { times: 1 });
    await page.goto(`${door.url}/console/#/flows?resource=${vm.port.id}`);
    await page.getByText(/, live/).waitFor();
    const flows = (await cloud.controller.ops<{ flows: unknown[] }>("GET", `/flows?resource=${vm.port.id}`)).body.flows.length;
    await expect.poll(() => page.getByRole("grid").getAttribute("aria-rowcount"), { timeout: 10_000 }).toBe(String(flows + 1));
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("follows flows again after a controller that was away, however often it was tried", { tags: "long" }, async () => {
    const { page } = await opened(browser);
    let failed = 0;
    page.on("requestfailed", (request) => {
      if (request.url().includes("/flows/stream")) failed++;
    });
    await page.goto(`${door.url}/console/#/flows?resource=${vm.port.id}`);
    await page.getByText(/, live/).waitFor();
    door.cut();
    try {
      await page.getByText("not live now").waitFor();
      await expect.poll(() => failed, { timeout: 20_000 }).toBeGreaterThan(2);
    } finally {
      door.again();
    }
    await page.getByText(/, live/).waitFor({ timeout: 20_000 });
    await page.context().close();
  });

  test("reads the flows once where it may not follow them, and follows when it may", { tags: "long" }, async () => {
    const others = Array.from({ length: 64 }, () => request({ socketPath: cloud.controller.opsSocket, path: "/flows/stream" }));
    await Promise.all(others.map((one) => new Promise((done) => one.on("response", done).end())));
    const { page } = await opened(browser);
    const asked = { streams: 0, dumps: 0 };
    page.on("request", (one) => {
      if (one.url().includes("/flows/stream")) asked.streams++;
      else if (one.url().includes("/flows?")) asked.dumps++;
    });
    await page.goto(`${door.url}/console/#/flows?resource=${vm.port.id}`);
    await expect.poll(() => asked.streams, { timeout: 20_000 }).toBeGreaterThan(2);
    expect(asked.dumps).toBe(1);
    expect(await page.getByRole("gridcell").count()).toBeGreaterThan(0);
    await page.getByText("too many clients").waitFor();
    for (const one of others) one.destroy();
    await page.getByText(/, live/).waitFor({ timeout: 20_000 });
    expect(asked.dumps).toBe(2);
    await page.context().close();
  });

  test("has the map in the colours that are asked for now, and asks for a network of no project as such", async () => {
    const { page } = await opened(browser, { colorScheme: "light" });
    await look(page, "map");
    const colour = (): Promise<string | null> => page.locator(".legend circle").first().getAttribute("fill");
    const light = await colour();
    await page.emulateMedia({ colorScheme: "dark" });
    await expect.poll(colour, { timeout: 10_000 }).not.toBe(light);
    await page.getByRole("button", { name: "Colours" }).click();
    await expect.poll(colour, { timeout: 10_000 }).toBe(light);
    await page.getByRole("button", { name: "Colours" }).click();
    await expect.poll(colour, { timeout: 10_000 }).not.toBe(light);
    // Others may be on their way: the map asks again by itself.
    const sent = page.waitForRequest((request) => request.url().endsWith(`/topology?project=&network=${web.network.id}`));
    await page.goto(`${door.url}/console/#/map?project=-&network=${web.network.id}`);
    await sent;
    await page.context().close();
  });

  test("draws curves of a tunnel and of what comes into a switch, and shows flows and history of before", { tags: "long", timeout: 60_000 }, async () => {
    const { page, complaints } = await opened(browser);
    await look(page, "tunnels");
    await page.getByRole("button", { name: "Curves of hv1 to hv2" }).click();
    await page.locator("figure canvas").waitFor({ timeout: 15_000 });
    const pings = vm.vm.pingStart(store.ip);
    try {
      await page.goto(`${door.url}/console/#/rates?switch=hv1&resource=${vm.port.id}`);
      await expect.poll(() => page.locator("figcaption .name").first().textContent(), { timeout: 20_000 }).toMatch(/ [1-9][\d.,]*$/);
      expect(await page.locator("figure canvas").count()).toBe(2);
      expect(await inaccessible(page), "rates").toEqual([]);
      await picture(page, "rates");
    } finally {
      await pings.stop();
    }
    await look(page, "flows", `?resource=${vm.port.id}`);
    const slider = page.getByRole("slider");
    await slider.focus();
    for (let i = 0; i < 5; i++) await page.keyboard.press("ArrowLeft");
    await page.waitForURL(/at=\d+/);
    const at = /at=(\d+)/.exec(page.url())![1]!;
    const past = (await cloud.controller.ops<{ flows: unknown[] }>("GET", `/flows?resource=${vm.port.id}&at=${at}`)).body.flows.length;
    expect(past).toBeGreaterThan(0);
    await expect.poll(() => page.getByRole("grid").getAttribute("aria-rowcount"), { timeout: 10_000 }).toBe(String(past + 1));
    await page.getByRole("button", { name: "Now" }).click();
    await page.getByText(/, live/).waitFor();
    await look(page, "history", `?until=${at}`);
    expect(await page.locator("main li.card a").first().textContent()).toBe(at);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("reads all flows of a table as long as there are any, a screen at a time", async () => {
    const { page } = await opened(browser);
    await look(page, "flows");
    const { body } = await cloud.controller.ops<{ flows: unknown[] }>("GET", "/flows");
    await expect.poll(() => page.getByRole("grid").getAttribute("aria-rowcount")).toBe(String(body.flows.length + 1));
    expect(await page.getByRole("row").count()).toBeLessThan(60);
    await page.getByRole("grid").focus();
    await page.keyboard.press("End");
    await expect.poll(() => page.getByRole("row").last().getAttribute("aria-rowindex")).toBe(await page.getByRole("grid").getAttribute("aria-rowcount"));
    await page.context().close();
  });

  test("is used by keys alone", async () => {
    const { page, complaints } = await opened(browser);
    await look(page, "problems");
    const focused = (): Promise<string> => page.evaluate("document.activeElement.textContent.trim()");
    await page.keyboard.press("Tab");
    expect(await focused()).toBe("To the content");
    await page.keyboard.press("Enter");
    expect(await page.evaluate("document.activeElement.id")).toBe("main");
    for (let i = 0; i < 40 && (await focused()) !== "Flows"; i++) await page.keyboard.press("Shift+Tab");
    for (let i = 0; i < 40 && (await focused()) !== "Flows"; i++) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.waitForSelector(SHOWN.flows);
    for (let i = 0; i < 40 && (await page.evaluate("document.activeElement.getAttribute('role')")) !== "grid"; i++) await page.keyboard.press("Tab");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.getByRole("region", { name: "The flow that was chosen" }).waitFor();
    // Every thing that has the focus shows it.
    expect(await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")).toBe("solid");
    await page.goto(`${door.url}/console/#/map`);
    await page.waitForSelector(SHOWN.map);
    await page.locator(".box").focus();
    for (const key of ["+", "ArrowLeft", "ArrowDown", "0"]) await page.keyboard.press(key);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("says so where the controller does not answer, and goes on when it does", { tags: "long" }, async () => {
    const { page } = await opened(browser);
    await look(page, "hosts");
    await page.context().setOffline(true);
    await page.getByRole("alert").first().waitFor({ timeout: 10_000 });
    expect(await page.getByRole("alert").first().textContent()).toContain("does not answer");
    await page.context().setOffline(false);
    await expect.poll(() => page.getByRole("alert").count(), { timeout: 10_000 }).toBe(0);
    await page.context().close();
  });

  test("traces a packet, or says that this controller cannot", async () => {
    const { page } = await opened(browser);
    await look(page, "trace", `?from=${vm.port.id}`);
    await page.getByLabel("To (id of a port, or an address)").fill(store.port.id);
    await page.getByRole("button", { name: "Trace" }).click();
    const verdict = page.getByText(/^(delivered|dropped)$/).first();
    await page.getByText(/cannot trace yet/).or(verdict).first().waitFor();
    if (await verdict.isVisible()) {
      await picture(page, "trace");
      await page.getByRole("link", { name: "On the map" }).click();
      await page.waitForSelector(SHOWN.map);
      await page.getByText("with the way of a packet").waitFor();
      await picture(page, "traced");
    }
    await page.context().close();
  });

  test("draws a project, plans what is to be made, makes it call by call: three tiers, whose machines reach each other as their groups say", { tags: "long", timeout: 180_000 }, async () => {
    const { page, complaints } = await opened(browser, { viewport: { width: 1280, height: 1000 } });
    await page.goto(`${door.url}/console/#/project?project=tiers`);
    const form = page.getByRole("form", { name: "Add to the draft" });
    const field = (label: string): Locator => form.locator("label", { hasText: new RegExp(`^${label}\\b`) }).locator("select, input").first();
    const add = async (what: string, texts: Readonly<Record<string, string>>, choices: Readonly<Record<string, string>> = {}): Promise<void> => {
      await field("Add").selectOption({ label: what });
      for (const [label, option] of Object.entries(choices)) await field(label).selectOption({ label: option });
      for (const [label, text] of Object.entries(texts)) await field(label).fill(text);
      await form.getByRole("button").click();
    };
    const tiers = ["edge", "app", "data"];
    for (const [i, name] of tiers.entries()) {
      await add("Network", { Name: name });
      await add("Subnet", { Prefix: `10.20.${i + 1}.0/24` }, { "In network": `${name} (drafted)` });
    }
    await add("Router", { Name: "between" });
    for (const i of tiers.keys()) await add("Interface of a router", {}, { Router: "between (drafted)", Subnet: `10.20.${i + 1}.0/24 (drafted)` });
    for (const [i, name] of ["app", "data"].entries()) {
      await add("Security group", { Name: name });
      await add("Security group rule", { Prefix: `10.20.${i + 1}.0/24` }, { "Security group": `${name} (drafted)`, Protocol: "icmp", From: "a prefix" });
    }
    await add("Port", { Name: "edge1" }, { "In network": "edge (drafted)" });
    for (const name of ["app", "data"]) await add("Port", { Name: `${name}1` }, { "In network": `${name} (drafted)`, "Security group": `${name} (drafted)` });
    const steps = page.getByRole("list", { name: "The draft" });
    expect(await steps.locator("> li").count()).toBe(17);
    expect(await page.locator(".svelte-flow__node.draft").count()).toBe(7);
    const before = (await cloud.controller.ops<{ generation: number }[]>("GET", "/history?limit=1")).body[0]!.generation;
    await page.getByRole("button", { name: "Plan", exact: true }).click();
    await expect.poll(() => steps.getByText("planned", { exact: true }).count(), { timeout: 20_000 }).toBe(6);
    expect(await steps.getByText(/^Comes to: create network edge/).count()).toBe(1);
    expect(await steps.getByText(/^planned when ".*" is made$/).count()).toBe(11);
    expect((await cloud.controller.ops<{ generation: number }[]>("GET", "/history?limit=1")).body[0]!.generation).toBe(before);
    expect(await inaccessible(page), "project").toEqual([]);
    await page.locator("h1").scrollIntoViewIfNeeded();
    await picture(page, "project-planned");
    await page.getByRole("button", { name: "Apply" }).click();
    const stopped = page.locator(".card.bad[role=alert]");
    await page.getByText("All of it is made.").or(stopped).first().waitFor({ timeout: 60_000 });
    expect(await stopped.allTextContents()).toEqual([]);
    await expect.poll(() => page.locator(".svelte-flow__node.draft").count(), { timeout: 10_000 }).toBe(0);
    expect(await steps.getByText("made", { exact: true }).count()).toBe(17);
    const { body: made } = await cloud.controller.ops<{ user: string | null }[]>("GET", "/history?project=tiers&limit=1");
    expect(made).toMatchObject([{ user: "console" }]);

    const machines = new Map<string, Instance>();
    for (const [i, name] of tiers.entries()) {
      const [port] = (await cloud.call("GET", `/v2.0/ports?project_id=tiers&name=${name}1`, undefined, "tiers")).body.ports as unknown as Instance["port"][];
      const ip = (port!.fixed_ips as { ip_address: string }[])[0]!.ip_address;
      const machine = await cloud.lab.addVm({ name: `vm${name}`, hypervisor: cloud.hv(1 + (i % 2)), portId: port!.id, mac: port!.mac_address as string, mtu: 1400 });
      await machine.setAddress(`${ip}/24`, `10.20.${i + 1}.1`);
      await cloud.active(port!.id);
      machines.set(name, { vm: machine, port: port!, ip });
    }
    const [edge, app, data] = tiers.map((name) => machines.get(name)!);
    expect(await edge!.vm.reaches(app!.ip, { timeoutMs: 10_000 })).toBe(true);
    expect(await app!.vm.reaches(data!.ip, { timeoutMs: 10_000 })).toBe(true);
    expect(await edge!.vm.reaches(data!.ip, { timeoutMs: 1000 })).toBe(false);
    await page.reload();
    await page.locator(".svelte-flow__node.port").nth(2).waitFor();
    await picture(page, "project");
    for (const [to, verdict, why] of [[app!, "delivered", ""], [data!, "dropped", "security_group"]] as const) {
      await page.goto(`${door.url}/console/#/trace?from=${edge!.port.id}`);
      await page.getByLabel("To (id of a port, or an address)").fill(to.port.id);
      await page.getByRole("button", { name: "Trace" }).click();
      await page.locator("section .tag", { hasText: verdict }).waitFor();
      if (why !== "") expect(await page.locator("section").first().textContent()).toContain(why);
    }
    await picture(page, "trace-dropped");
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("makes calls for nobody but itself: no page of others, nothing that it was not asked, no plan that does not hold", async () => {
    const ops = (body: unknown, headers: Record<string, string> = {}) => cloud.controller.ops<{ error?: { code: string; message: string }; networks?: unknown[] }>("POST", "/call", body, headers);
    const read = { method: "GET", path: "/v2.0/networks?project_id=shop" };
    expect((await ops(read)).body.networks?.length).toBe(2);
    for (const headers of [{ origin: "http://pages.example" }, { "sec-fetch-site": "cross-site" }] as Record<string, string>[]) expect(await ops(read, headers)).toMatchObject({ status: 403, body: { error: { code: "FORBIDDEN" } } });
    expect(await ops({ ...read, made: 1 })).toMatchObject({ status: 400, body: { error: { message: expect.stringContaining("made: is not known here") as string } } });
    expect(await ops({ ...read, path: "/etc/passwd" })).toMatchObject({ status: 400, body: { error: { code: "CALL_REFUSED" } } });
    const write = { method: "POST", path: "/v2.0/networks", body: { network: { name: "unplanned" } }, project: "shop" };
    expect(await ops({ ...write, plan: "none-such" })).toMatchObject({ status: 409, body: { error: { code: "CALL_REFUSED", type: "PlanNotFound" } } });
    expect((await ops(read)).body.networks?.length).toBe(2);
  });

  test("is no page of others: not in a frame of theirs, and no script or style but its own", async () => {
    const { page, complaints } = await opened(browser);
    await look(page, "problems");
    await page.evaluate("(() => { const s = document.createElement('style'); s.textContent = 'body { opacity: 0 }'; document.head.append(s); })()");
    expect(await page.evaluate("getComputedStyle(document.body).opacity")).toBe("1");
    await expect(page.evaluate("document.body.innerHTML = '<b>x</b>'")).rejects.toThrow("TrustedHTML");
    expect(complaints.join("\n")).toContain("style-src");
    await page.context().close();
  });
});
