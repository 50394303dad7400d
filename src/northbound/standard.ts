// The attributes that the API layer keeps for every resource, beside tags (tags.ts), and the extensions that they are.
import type { Alias, AnyResource, Attribute, StandardAttribute } from "../app/contract.ts";
import { hasStandard } from "./kinds.ts";

const project: Attribute = { type: "string", about: "Project that owns it; the caller's own unless an administrator says otherwise.", post: true, filter: true, sort: true };

const declared: readonly (readonly [StandardAttribute, Readonly<Record<string, Attribute>>])[] = [
  ["id", { id: { type: "uuid", about: "Made by the server.", filter: true, sort: true } }],
  ["name", { name: { type: "string", about: "For people; need not be unique.", post: true, put: true, default: "", filter: true, sort: true } }],
  ["project", { tenant_id: { ...project, about: "Older name of project_id; always equal to it." }, project_id: project }],
  ["description", { description: { type: "string", about: "Free text.", post: true, put: true, default: "", filter: true } }],
  ["timestamps", { created_at: { type: "timestamp", about: "When it was made, UTC." }, updated_at: { type: "timestamp", about: "When it or a part of it last changed, UTC." } }],
  ["revision", { revision_number: { type: "integer", about: "Grows with every change of it or of its parts.", filter: true } }],
];

/** Those of a resource, in the order they are shown. */
export const standardAttributes = (resource: AnyResource): Readonly<Record<string, Attribute>> =>
  Object.assign({}, ...declared.filter(([name]) => hasStandard(resource, name)).map(([, attributes]) => attributes)) as Record<string, Attribute>;

/** What this layer itself implements for every resource. */
export const standardAliases: readonly Alias[] = [
  ["standard-attr-description", "Description of resources", "Every resource has a description."],
  ["standard-attr-timestamp", "Times of creation and change", "created_at, updated_at and the changed_since filter."],
  ["standard-attr-revisions", "Revision numbers", "revision_number grows with every change."],
  ["revision-if-match", "If-Match on revision_number", "A change may be tied to the revision its author saw."],
  ["project-id", "project_id", "project_id beside tenant_id."],
  ["pagination", "Paging of lists", "limit, marker, page_reverse and links."],
  ["sorting", "Sorting of lists", "sort_key and sort_dir."],
  ["sort-key-validation", "Check of sort keys", "Unknown sort keys are refused."],
  ["filter-validation", "Check of filters", "Unknown filters are refused."],
  ["empty-string-filtering", "Filtering for empty text", "An empty filter value matches the empty text."],
].map(([alias, name, description]) => ({ alias: alias!, name: name!, description: description!, updated: "2026-01-01T00:00:00-00:00" }));
