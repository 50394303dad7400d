// Networks as lines of text: one "name: value" a line, rows apart by an empty line, a refusal in one line that starts with "!".
import { ApiError, badRequest, type Face, type FaceAnswer, type Values } from "#app";
import { networkResource } from "../../../../apps/l2/model.ts";

const TEXT = "text/plain; charset=utf-8";
const MOST = 100;
const SHOWN = ["id", "name", "project_id", "admin_state_up"] as const;

/** Line breaks and backslashes in values are escaped, so that a value stays on its line. */
const escape = (text: string): string => text.replace(/[\\\n\r]/g, (c) => (c === "\\" ? "\\\\" : c === "\n" ? "\\n" : "\\r"));
const unescape = (text: string): string => text.replace(/\\([\\nr])/g, (_, c: string) => (c === "n" ? "\n" : c === "r" ? "\r" : "\\"));
const form = (row: Values): string => SHOWN.map((name) => `${name}: ${escape(String(row[name]))}\n`).join("");
const say = (status: number, body: string, generation?: number): FaceAnswer => ({ status, contentType: TEXT, body, generation });

function blocks(body: Uint8Array): readonly Values[] {
  const rows = [new Map<string, string>()];
  for (const [at, line] of Buffer.from(body).toString("utf8").split("\n").entries()) {
    if (line === "") {
      if (rows.at(-1)!.size > 0) rows.push(new Map<string, string>());
      continue;
    }
    const [, name, value] = /^([a-z_]+): (.*)$/.exec(line) ?? [];
    if (name === undefined || value === undefined) throw badRequest(`line ${at + 1} is not "name: value"`, "BadLine");
    if (rows.at(-1)!.has(name)) throw badRequest(`line ${at + 1} says ${name} again`, "BadLine");
    rows.at(-1)!.set(name, unescape(value));
  }
  if (rows.length > 1 && rows.at(-1)!.size === 0) rows.pop();
  if (rows.length > MOST) throw badRequest(`more than ${MOST} networks`, "TooMany");
  return rows.map((row) => Object.fromEntries(row));
}

function oneBlock(body: Uint8Array): Values {
  const [row, more] = blocks(body);
  if (more !== undefined) throw badRequest("one network is expected", "TooMany");
  return row!;
}

export const plainFace: Face = {
  name: "plain",
  prefix: "/plain",
  version: { id: "plain", status: "EXPERIMENTAL" },
  async handle(request, operations) {
    const [, collection, id, ...rest] = request.path.split("/");
    if (collection !== "networks" || rest.length > 0) throw new ApiError(404, "NoSuchPath", "there are /networks and /networks/<id>");
    const about = `${request.method} ${id === undefined ? "all" : "one"}`;
    switch (about) {
      case "GET all": {
        const rows = await operations.list(networkResource, request, request.query);
        async function* lines(): AsyncGenerator<string> {
          for await (const row of rows) yield `${form(row)}\n`;
        }
        return { status: 200, contentType: TEXT, body: lines() };
      }
      case "POST all": {
        // Several are made together or not at all.
        const rows = blocks(request.body);
        const { value, generation } = await operations.batch(request, (all) => rows.map((row) => all.create(networkResource, row)));
        return say(201, value.map(form).join("\n"), generation);
      }
      case "GET one":
        return say(200, form(operations.show(networkResource, id!, request)));
      case "PUT one": {
        const { value, generation } = await operations.update(networkResource, id!, oneBlock(request.body), { ...request, ifMatch: request.header("if-match") });
        return say(200, form(value), generation);
      }
      case "DELETE one":
        return { status: 204, generation: (await operations.remove(networkResource, id!, request)).generation };
      default:
        throw new ApiError(405, "NoSuchMethod", `${request.method} is not for ${request.path}`);
    }
  },
  refuse: ({ status, type, message }) => say(status, `! ${status} ${type} ${escape(message)}\n`),
};
