// A real browser, Debian's Chromium, and what goes wrong in it: errors of pages, what their policy refused, what axe finds of accessibility.
import { createServer, connect, type AddressInfo, type Socket } from "node:net";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";

const CHROMIUM = "/usr/bin/chromium";
export const haveChromium = existsSync(CHROMIUM);

/** WebGL is drawn by the processor: there is no other here. `flags`: more of Chromium's. */
export const launch = (...flags: readonly string[]): Promise<Browser> =>
  chromium.launch({ executablePath: CHROMIUM, args: [...flags, "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"] });

/** A TCP port of this machine that leads to a unix socket: browsers speak to no such. `cut`: nothing goes through it until `again`. */
export async function forwarded(socket: string): Promise<{ readonly url: string; cut(): void; again(): void; close(): void }> {
  const open = new Set<Socket>();
  let isCut = false;
  const server = createServer((from) => {
    if (isCut) {
      from.destroy();
      return;
    }
    const to = connect(socket);
    from.pipe(to).pipe(from);
    for (const one of [from, to]) {
      open.add(one);
      one.on("error", () => [from, to].forEach((other) => other.destroy()));
      one.on("close", () => open.delete(one));
    }
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => {
      isCut = true;
      for (const one of open) one.destroy();
    },
    again: () => void (isCut = false),
    close: () => void server.close(),
  };
}

/** A page that keeps what its console and its policy complained of. */
export async function opened(browser: Browser, options: BrowserContextOptions = {}): Promise<{ readonly page: Page; readonly complaints: string[] }> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (new URL(request.url()).hostname !== "127.0.0.1" && !request.url().startsWith("data:")) complaints.push(`asked elsewhere: ${request.url()}`);
  });
  return { page, complaints };
}

/** Until an expression of the page's is true. Playwright's own way of asking again is refused by a policy that allows no eval. */
export async function untilTrue(page: Page, expression: string): Promise<void> {
  while (!(await page.evaluate<boolean>(expression))) await new Promise((resume) => setTimeout(resume, 50));
}

const axeFile = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** What axe finds serious or critical, a line each, by all of its rules or these. It is put in past the page's policy, which would refuse it. */
export async function inaccessible(page: Page, rules?: readonly string[]): Promise<string[]> {
  await page.evaluate(`if (globalThis.axe === undefined) { ${readFileSync(axeFile, "utf8")} }`);
  const found = await page.evaluate<{ violations: { id: string; impact: string; nodes: { html: string; failureSummary: string }[] }[] }>(`axe.run(document, { resultTypes: ["violations"], ...${JSON.stringify(rules === undefined ? {} : { runOnly: rules })} })`);
  return found.violations.filter(({ impact }) => impact === "serious" || impact === "critical").map(({ id, nodes }) => `${id}: ${nodes[0]!.html.slice(0, 200)} ${nodes[0]!.failureSummary}`);
}
