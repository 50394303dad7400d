// JSON or XML: which of them a request speaks, what its body says, how a resource and a list are written.
import { ApiError, badRequest, isObject, parseJson, type FaceRequest } from "#app";
import { readXml, writeXml } from "./xml.ts";

export type Format = "json" | "xml";
export type Item = Readonly<Record<string, unknown>>;

export const contentTypes: Readonly<Record<Format, string>> = { json: "application/json", xml: "application/xml" };

const SUFFIX = /\.(json|xml)$/;
export const withoutSuffix = (path: string): string => path.replace(SUFFIX, "");

/** How much a request wants a type: the q of the most specific range of its Accept header that holds it. */
function wanted(accept: string, type: string): number {
  let best = { specific: -1, q: 0 };
  for (const part of accept.split(",")) {
    const [range = "", ...parameters] = part.split(";").map((p) => p.trim().toLowerCase());
    const specific = range === type ? 2 : range === "application/*" ? 1 : range === "*/*" ? 0 : -1;
    if (specific < 0 || specific < best.specific) continue;
    const q = Number(parameters.find((p) => p.startsWith("q="))?.slice(2) ?? 1);
    best = { specific, q: Number.isNaN(q) ? 0 : q };
  }
  return best.q;
}

/** For the body and the answer alike: the path's suffix, else what the body is called, else what is accepted. JSON if nothing says so. */
export function formatOf(request: Pick<FaceRequest, "header">, path: string): Format {
  const suffix = SUFFIX.exec(path)?.[1];
  if (suffix !== undefined) return suffix as Format;
  const type = request.header("content-type")?.split(";")[0]!.trim().toLowerCase();
  if (type === contentTypes.json) return "json";
  if (type === contentTypes.xml) return "xml";
  const accept = request.header("accept") ?? "";
  return wanted(accept, contentTypes.xml) > wanted(accept, contentTypes.json) ? "xml" : "json";
}

/** The fields of the resource that a body holds; undefined: there is no body. Fields that nobody asks for are as good as absent. */
export function readBody(body: Uint8Array, format: Format, resource: string): ReadonlyMap<string, unknown> | undefined {
  if (body.length === 0) return undefined;
  if (format === "xml") {
    const { name, fields } = readXml(body);
    if (name !== resource) throw badRequest(`<${resource}> is expected`);
    return fields;
  }
  let parsed: unknown;
  try {
    parsed = parseJson(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw badRequest("The body is not valid JSON");
  }
  const root: unknown = isObject(parsed) && Object.hasOwn(parsed, resource) ? parsed[resource] : undefined;
  if (!isObject(root)) throw badRequest(`An object '${resource}' is expected`);
  return new Map(Object.entries(root));
}

export const write = (format: Format, name: string, item: Item, namespace: string): string => (format === "xml" ? writeXml(name, item, namespace) : JSON.stringify({ [name]: item }));

/** A list, as it is read. `plural`: "networks". */
export async function* writeList(format: Format, plural: string, items: AsyncIterable<Item>, namespace: string): AsyncGenerator<string> {
  const one = plural.slice(0, -1);
  let empty = true;
  for await (const item of items) {
    const before = format === "xml" ? (empty ? `<${plural} xmlns="${namespace}">` : "") : empty ? `{"${plural}": [` : ", ";
    empty = false;
    yield before + (format === "xml" ? writeXml(one, item) : JSON.stringify(item));
  }
  if (format === "xml") yield empty ? `<${plural} xmlns="${namespace}"/>` : `</${plural}>`;
  else yield empty ? `{"${plural}": []}` : "]}";
}
