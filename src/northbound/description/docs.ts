// docs/api.md, from the declarations.
import { actionPath, collectionPath, memberPath } from "./openapi.ts";
import { formText } from "./schema.ts";
import type { Kind, KindAction, KindAttribute, Registry } from "../kinds.ts";

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");

function attributeRow(a: KindAttribute, registry: Registry): string {
  const may = [a.post ? "C" : "", a.put ? "U" : ""].filter((x) => x !== "").join(" ");
  const listing = `${a.decl.filter === true ? "f" : ""}${a.decl.sort === true ? "s" : ""}`;
  const fallback = a.decl.required === true ? "**required**" : a.hasDefault ? `\`${JSON.stringify(a.default)}\`` : a.post ? "*auto*" : "";
  const rules: string[] = [];
  for (const verb of ["create", "get", "update"] as const) if (a[verb] !== undefined) rules.push(`${verb}: ${a[verb].text}`);
  for (const key of Object.keys(a.decl.policy?.keys ?? {})) for (const verb of ["create", "update"] as const) if (a.keyRule(verb, key) !== undefined) rules.push(`${verb}.${key}: ${a.keyRule(verb, key)!.text}`);
  const form = a.post || a.put ? formText(a.form, registry.converters) : "";
  return `| ${[a.name, form === "" || form === a.decl.type ? a.decl.type : `${a.decl.type}: ${form}`, may === "" ? "ro" : may, fallback, listing, `${a.decl.about}${!a.visible ? " (not shown)" : a.decl.onRequest === true ? " (shown where `fields` names it)" : a.decl.inLists === true ? " (shown in lists, and where `fields` names it)" : a.decl.inMembers === true ? " (in lists where `fields` names it)" : ""}`, rules.join("; ")].map(cell).join(" | ")} |`;
}

/** The action's rule, and those of what its body gives that ask for something else. */
function actionRules({ rule, gives }: KindAction): string {
  const given = gives === undefined ? [] : [[gives.attribute, gives.rule] as const, ...[...gives.keys].map(([key, r]) => [`${gives.attribute}.${key}`, r] as const)];
  return [rule.text, ...given.filter(([, r]) => r.text !== rule.text).map(([name, r]) => `${name}: ${r.text}`)].join("; ");
}

/** The tags of a resource are the same everywhere: said once, at the head. */
const isTags = (path: string): boolean => path.startsWith("tags");

function section(kind: Kind, registry: Registry): string {
  const path = collectionPath(kind);
  const member = memberPath(kind);
  const lines = [`## ${kind.resource.collection}`, "", kind.resource.about, "", `\`${path}\`${kind.resource.alias === undefined ? "" : `, extension \`${kind.resource.alias}\``}`, ""];
  lines.push("| request | who |", "| --- | --- |");
  lines.push(`| ${kind.onlyId === undefined ? `\`GET ${path}\`, ` : ""}\`GET ${member}\` | ${cell(kind.get.text)} |`);
  if (kind.can.create) lines.push(`| \`POST ${path}\` | ${cell(kind.create.text)} |`);
  if (kind.can.update) lines.push(`| \`PUT ${member}\` | ${cell(kind.update.text)} |`);
  if (kind.can.delete) lines.push(`| \`DELETE ${member}\` | ${cell(kind.delete.text)} |`);
  for (const [base, actions] of [[path, kind.collectionActions], [member, kind.actions]] as const) {
    for (const action of actions) {
      if (!isTags(action.decl.path ?? "")) lines.push(`| \`${action.method} ${actionPath(base, action)}\`: ${cell(action.decl.about)} | ${cell(actionRules(action))} |`);
    }
  }
  lines.push("", "| attribute | type | C/U | default | f/s | about | who, beyond the request's rule |", "| --- | --- | --- | --- | --- | --- | --- |");
  for (const attribute of kind.attributes.values()) lines.push(attributeRow(attribute, registry));
  return `${lines.join("\n")}\n`;
}

/** The whole page. */
export function apiMarkdown(registry: Registry): string {
  const head = `# Tenant API v2.0

Generated from the resource declarations of the apps; do not edit. C = may be given on create, U = on update, ro = read only,
f = lists can be filtered by it, s = sorted by it, *auto* = chosen by the server. What has tags has them at /tags (GET, PUT, POST,
DELETE) and /tags/{tag} (GET, PUT, DELETE) below each member. Every write takes \`?wait=dataplane\` and \`?plan=1\`, and
\`GET /v2.0/axion/watch\` tells of changes: [clients.md](clients.md). \`GET /v2.0/axion/explain\` says what becomes of a packet: [trace.md](trace.md).

Extensions: ${registry.aliases.map((a) => `\`${a.alias}\``).join(", ")}.
`;
  const kinds = [...registry.kinds.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return [head, ...kinds.map((kind) => section(kind, registry))].join("\n");
}
