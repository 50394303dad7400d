// XML as v1 has it: one element of a resource with its fields as attributes or child elements, in and out. What is read is bounded, and has
// no document type: there is no entity but XML's own five to expand.
import { badRequest } from "#app";
import { SaxesParser } from "saxes";

/** Bytes, levels of elements, elements and attributes together: far more than any resource of v1 has. */
export const XML_LIMITS = { bytes: 64 * 1024, depth: 16, parts: 1024 } as const;

export interface XmlResource {
  /** Of the root, without its namespace. */
  readonly name: string;
  readonly fields: ReadonlyMap<string, string>;
}

const bad = (why: string): Error => badRequest(`The body is not XML of a resource: ${why}`);

function textOf(body: Uint8Array): string {
  if (body.length > XML_LIMITS.bytes) throw bad(`it is longer than ${XML_LIMITS.bytes} bytes`);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw bad("it is not UTF-8");
  }
}

/** @throws ApiError 400 for what is not well-formed, too large, or of another form */
export function readXml(body: Uint8Array): XmlResource {
  const text = textOf(body);
  const parser = new SaxesParser({ xmlns: true });
  const fields = new Map<string, string>();
  let name = "";
  let depth = 0;
  let parts = 0;
  /** The child whose text is read; undefined: none, or it has elements and is no field. */
  let child: { readonly name: string; text: string } | undefined;
  const count = (more: number): void => {
    parts += more;
    if (parts > XML_LIMITS.parts) throw bad(`it has more than ${XML_LIMITS.parts} elements and attributes`);
  };
  const characters = (more: string): void => {
    if (child !== undefined) child.text += more;
    else if (depth === 1 && more.trim() !== "") throw bad(`text stands in <${name}> itself`);
  };
  parser.on("error", (error) => {
    throw bad(error.message);
  });
  parser.on("doctype", () => {
    throw bad("a document type is not accepted");
  });
  parser.on("xmldecl", ({ encoding }) => {
    if (encoding !== undefined && !/^(utf-8|us-ascii)$/i.test(encoding)) throw bad(`it is said to be in ${encoding}`);
  });
  parser.on("attribute", () => count(1));
  parser.on("opentag", ({ local, attributes }) => {
    count(1);
    if (++depth > XML_LIMITS.depth) throw bad(`elements are nested more than ${XML_LIMITS.depth} deep`);
    if (depth === 1) {
      name = local;
      for (const a of Object.values(attributes)) if (a.prefix !== "xmlns" && a.name !== "xmlns") fields.set(a.local, a.value);
    }
    child = depth === 2 ? { name: local, text: "" } : undefined;
  });
  parser.on("closetag", () => {
    if (depth === 2 && child !== undefined) fields.set(child.name, child.text);
    child = undefined;
    depth--;
  });
  parser.on("text", characters);
  parser.on("cdata", characters);
  parser.write(text).close();
  return { name, fields };
}

/** What no XML 1.0 can carry, even escaped. */
const UNWRITABLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

export const escapeXml = (text: string): string => text.replace(UNWRITABLE, "\ufffd").replace(/[<>&"'\t\n\r]/g, (c) => `&#${c.charCodeAt(0)};`);

/** A resource with its plain fields as attributes, objects and lists in it as child elements: `ports` of <port/>. */
export function writeXml(name: string, fields: Readonly<Record<string, unknown>>, namespace?: string): string {
  let attributes = namespace === undefined ? "" : ` xmlns="${namespace}"`;
  let children = "";
  for (const [key, value] of Object.entries(fields)) {
    if (Array.isArray(value)) children += value.length === 0 ? `<${key}/>` : `<${key}>${value.map((item) => writeXml(key.slice(0, -1), item as Record<string, unknown>)).join("")}</${key}>`;
    else if (typeof value === "object" && value !== null) children += writeXml(key, value as Record<string, unknown>);
    else attributes += ` ${key}="${escapeXml(String(value))}"`;
  }
  return children === "" ? `<${name}${attributes}/>` : `<${name}${attributes}>${children}</${name}>`;
}
