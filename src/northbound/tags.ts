// Tags: labels on every resource that has them. An extension of all resources like an app's own, but that the labels are a column of
// the row, which the filters of lists read (query.ts).
import { ApiError, invalidInput, makeCheck, notFound, show, type Action, type AnyResource, type App, type Check, type StandardRow, type Tx, type Values } from "../app/contract.ts";
import { hasStandard } from "./kinds.ts";

const MAX_TAGS = 50;
const TAGS: Check = { list: { type: "string" }, unique: true, max: MAX_TAGS };
const tagList = makeCheck(TAGS);

const noTag = (tag: string): ApiError => notFound("TagNotFound", `Tag ${show(tag)} could not be found.`);

function checkTags(tags: unknown): readonly string[] {
  if (tags === undefined) throw invalidInput("'tags' is missing");
  try {
    return tagList(tags, "tags") as readonly string[];
  } catch (error) {
    // The tags API has one type for whatever is wrong with a tag.
    if (error instanceof ApiError) throw new ApiError(400, "InvalidInput", error.message);
    throw error;
  }
}

function actionsOf(resource: AnyResource): Readonly<Record<string, Action<StandardRow>>> {
  const { table, name, collection } = resource;
  const shared = {
    notFound: { type: "TagResourceNotFound", message: (id: string) => `Resource ${collection} ${id} could not be found.` },
    policy: { of: "update", attribute: "tags" },
    rule: `update_${name}:tags`,
  } as const;
  const reading = { ...shared, policy: { of: "get", attribute: "tags" }, rule: `get_${name}:tags` } as const;
  const removing = { ...shared, method: "DELETE", rule: `delete_${name}:tags`, status: 204 } as const;
  const change = (tx: Tx, row: StandardRow, tags: readonly string[]): { readonly tags: readonly string[] } => {
    if (tags.length !== row.tags.length || tags.some((t, i) => t !== row.tags[i])) {
      const stamp = { ...(hasStandard(resource, "revision") ? { revision_number: row.revision_number + 1 } : {}), ...(hasStandard(resource, "timestamps") ? { updated_at: tx.now } : {}) };
      tx.put(table!, { ...row, tags, ...stamp });
    }
    return { tags };
  };
  const said = { form: { dict: { tags: { check: TAGS, required: true } } }, answers: { tags: TAGS } } as const;
  const given = (body: Values): readonly string[] => checkTags(body.tags);
  return {
    list_tags: { ...reading, method: "GET", about: "Its tags.", path: "tags", answers: said.answers, read: (_view, row) => ({ tags: row.tags }) },
    replace_tags: { ...shared, ...said, about: "Replaces all tags.", path: "tags", run: (tx, row, body) => change(tx, row, given(body)) },
    add_tags: { ...shared, ...said, rule: `create_${name}:tags`, method: "POST", about: "Adds tags.", path: "tags", status: 201, run: (tx, row, body) => change(tx, row, checkTags([...new Set([...row.tags, ...given(body)])])) },
    remove_tags: { ...removing, about: "Removes all tags.", path: "tags", bodyless: true, run: (tx, row) => change(tx, row, []) },
    has_tag: {
      ...reading, method: "GET", about: "Whether it has the tag.", path: "tags/{tag}", status: 204,
      read: (_view, row, _caller, { tag }) => {
        if (!row.tags.includes(tag!)) throw noTag(tag!);
      },
    },
    add_tag: {
      ...shared, about: "Adds one tag.", path: "tags/{tag}", status: 201, answers: {}, bodyless: true,
      run: (tx, row, _body, _ctx, { tag }) => {
        checkTags([tag]);
        change(tx, row, row.tags.includes(tag!) ? row.tags : checkTags([...row.tags, tag]));
      },
    },
    remove_tag: {
      ...removing, about: "Removes one tag.", path: "tags/{tag}", bodyless: true,
      run: (tx, row, _body, _ctx, { tag }) => {
        if (!row.tags.includes(tag!)) throw noTag(tag!);
        change(tx, row, row.tags.filter((t) => t !== tag));
      },
    },
  };
}

/** First of all apps. */
export const tags: App = {
  name: "tags",
  about: "labels on resources",
  extendAll: (resource) =>
    !hasStandard(resource, "tags") ? undefined : {
      attributes: { tags: { type: "string[]", about: "Labels.", default: [], check: { null: [], else: TAGS } } },
      ...(resource.table === undefined ? {} : { actions: actionsOf(resource) }),
    },
  aliases: [
    { alias: "standard-attr-tag", name: "Tags", description: "Labels on resources, and filters for them.", updated: "2026-01-01T00:00:00-00:00" },
    { alias: "tag-creation", name: "Adding tags with POST", description: "POST on a tags collection adds to it.", updated: "2026-01-01T00:00:00-00:00" },
  ],
};
