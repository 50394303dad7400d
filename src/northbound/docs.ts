// docs/api.md, from the declarations.
import { collectionPath } from "./openapi.ts";
import type { Kind, KindAttribute, Registry } from "./kinds.ts";

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");

function attributeRow(a: KindAttribute): string {
  const may = [a.post ? "C" : "", a.put ? "U" : ""].filter((x) => x !== "").join(" ");
  const listing = `${a.decl.filter === true ? "f" : ""}${a.decl.sort === true ? "s" : ""}`;
  const fallback = a.decl.required === true ? "**required**" : a.hasDefault ? `\`${JSON.stringify(a.default)}\`` : a.post ? "*auto*" : "";
  const rules: string[] = [];
  for (const verb of ["create", "get", "update"] as const) if (a[verb] !== undefined) rules.push(`${verb}: ${a[verb].text}`);
  for (const [key, k] of a.keys) for (const verb of ["create", "update"] as const) if (k[verb] !== undefined) rules.push(`${verb}.${key}: ${k[verb].text}`);
  return `| ${[a.name, a.decl.type, may === "" ? "ro" : may, fallback, listing, `${a.decl.about}${a.visible ? "" : " (not shown)"}`, rules.join("; ")].map(cell).join(" | ")} |`;
}

function section(kind: Kind): string {
  const path = collectionPath(kind);
  const lines = [`## ${kind.resource.collection}`, "", kind.resource.about, "", `\`${path}\`${kind.resource.alias === undefined ? "" : `, extension \`${kind.resource.alias}\``}`, ""];
  lines.push("| request | who |", "| --- | --- |");
  lines.push(`| \`GET ${path}\`, \`GET ${path}/{id}\` | ${cell(kind.get.text)} |`, `| \`POST ${path}\` | ${cell(kind.create.text)} |`);
  if (kind.resource.update !== undefined) lines.push(`| \`PUT ${path}/{id}\` | ${cell(kind.update.text)} |`);
  lines.push(`| \`DELETE ${path}/{id}\` | ${cell(kind.delete.text)} |`);
  for (const action of kind.actions.values()) lines.push(`| \`${action.decl.method ?? "PUT"} ${path}/{id}/${action.name}\`: ${cell(action.decl.about)} | ${cell(action.rule.text)} |`);
  lines.push("", "| attribute | type | C/U | default | f/s | about | who, beyond the request's rule |", "| --- | --- | --- | --- | --- | --- | --- |");
  for (const attribute of kind.attributes.values()) lines.push(attributeRow(attribute));
  return `${lines.join("\n")}\n`;
}

/** The whole page. */
export function apiMarkdown(registry: Registry): string {
  const head = `# Tenant API v2.0

Generated from the resource declarations of the apps; do not edit. C = may be given on create, U = on update, ro = read only,
f = lists can be filtered by it, s = sorted by it, *auto* = chosen by the server.

Extensions: ${registry.aliases.map((a) => `\`${a.alias}\``).join(", ")}.
`;
  const kinds = [...registry.kinds.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return [head, ...kinds.map(section)].join("\n");
}
