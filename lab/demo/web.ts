// Web servers and those who ask them, as programs of their own in a namespace of the lab: real HTTP over whatever is between the two.

import type { NetNs } from "../netns.ts";

/** What a server saw of a request. */
export interface Request {
  readonly from: string;
  readonly port: number;
  readonly path: string;
}

export interface WebServer {
  /** Requests so far. */
  readonly requests: readonly Request[];
}

/** `node -e SERVER PORT NAME`. A page says who serves it, and to whom. /at-once/N is held back until N such requests are under way. */
const SERVER = String.raw`
const [port, name] = process.argv.slice(1);
const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
let held = [];
require("node:http").createServer((request, response) => {
  const { remoteAddress, remotePort } = request.socket;
  const from = remoteAddress.replace(/^::ffff:/, "");
  say({ from, port: remotePort, path: request.url });
  const answer = () => response.end(name + " sees you as " + from + "\n");
  const together = /^\/at-once\/(\d+)$/.exec(request.url);
  if (together === null) return answer();
  held.push(answer);
  if (held.length < Number(together[1])) return;
  for (const one of held) one();
  held = [];
}).listen(Number(port), "::", () => say({ listening: true }));
`;

/** `node -e CLIENT URL TIMEOUT [LOCALPORT]`: the page, or what went wrong, as JSON. */
const CLIENT = String.raw`
const [url, timeoutMs, localPort] = process.argv.slice(1);
const end = (value) => { process.stdout.write(JSON.stringify(value) + "\n"); process.exit(0); };
const options = { agent: false, ...(localPort !== undefined && { localPort: Number(localPort) }) };
require("node:http").get(url, options, (response) => {
  let page = "";
  response.setEncoding("utf8").on("data", (text) => (page += text)).on("end", () => end({ page: page.trim() }));
}).on("error", (error) => end({ error: error.code }));
setTimeout(end, Number(timeoutMs), { error: "no answer in " + timeoutMs + " ms" });
`;

/** Serves pages until the lab ends. */
export async function serveWeb(at: NetNs, port: number, name: string): Promise<WebServer> {
  const requests: Request[] = [];
  const running = at.spawn([process.execPath, "-e", SERVER, String(port), name], {
    onLine: (line) => {
      if (line.includes('"path"')) requests.push(JSON.parse(line) as Request);
    },
  });
  await running.waitFor(/listening/);
  return { requests };
}

/** The page at a URL; undefined and why when there was none in time. */
export async function getPage(at: NetNs, url: string, options: { timeoutMs?: number; localPort?: number } = {}): Promise<{ page?: string; error?: string }> {
  const { timeoutMs = 5000, localPort } = options;
  const { stdout } = await at.exec([process.execPath, "-e", CLIENT, url, String(timeoutMs), ...(localPort === undefined ? [] : [String(localPort)])], { timeoutMs: timeoutMs + 10_000 });
  return JSON.parse(stdout) as { page?: string; error?: string };
}
