// The API's description in OpenAPI 3.1, from the declarations.
import type { AttributeType } from "../app/contract.ts";
import type { Kind, KindAttribute, Registry } from "./kinds.ts";

type Json = Record<string, unknown>;

const schemas: Readonly<Record<AttributeType, Json>> = {
  string: { type: "string" },
  boolean: { type: "boolean" },
  integer: { type: "integer" },
  uuid: { type: "string", format: "uuid" },
  "uuid|null": { type: ["string", "null"], format: "uuid" },
  "uuid[]": { type: "array", items: { type: "string", format: "uuid" } },
  "string[]": { type: "array", items: { type: "string" } },
  object: { type: "object" },
  "object[]": { type: "array", items: { type: "object" } },
  "ip|null": { type: ["string", "null"], description: "IPv4 or IPv6 address" },
  mac: { type: "string", pattern: "^[0-9a-f]{2}(:[0-9a-f]{2}){5}$" },
  cidr: { type: "string", description: "IPv4 or IPv6 prefix" },
  timestamp: { type: "string", format: "date-time" },
  any: {},
};

const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
const content = (schema: Json): Json => ({ "application/json": { schema } });
const object = (properties: Json, required?: readonly string[]): Json => ({ type: "object", properties, ...(required === undefined || required.length === 0 ? {} : { required }) });

function attributeSchema(a: KindAttribute, withDefault: boolean): Json {
  return {
    ...schemas[a.decl.type],
    description: a.decl.about,
    ...(withDefault && a.hasDefault ? { default: a.default } : {}),
    ...(a.decl.alias === undefined ? {} : { "x-alias": a.decl.alias }),
    ...(a.decl.policy === undefined ? {} : { "x-policy": a.decl.policy }),
  };
}

const properties = (attributes: Iterable<KindAttribute>, withDefault = false): Json => Object.fromEntries([...attributes].map((a) => [a.name, attributeSchema(a, withDefault)]));

/** Path of a collection below the listener's root. */
export function collectionPath(kind: Kind): string {
  const own = (kind.resource.path ?? kind.resource.collection).replaceAll("_", "-");
  return kind.parent === undefined ? `/v2.0/${own}` : `${collectionPath(kind.parent)}/{${kind.resource.parent!.attribute}}/${own}`;
}

const pathParameters = (path: string): Json[] => [...path.matchAll(/\{([^}]+)\}/g)].map((m) => ({ name: m[1], in: "path", required: true, schema: { type: "string" } }));
const query = (name: string, description: string, schema: Json = { type: "string" }): Json => ({ name, in: "query", description, schema });
const repeated = (name: string, description: string): Json => ({ ...query(name, description, { type: "array", items: { type: "string" } }), style: "form", explode: true });

const generation: Json = { "X-Axion-Generation": { description: "Generation that the change is part of.", schema: { type: "integer" } } };
const refused: Json = { default: { $ref: "#/components/responses/Refused" } };

export function openApi(registry: Registry): Json {
  const paths: Record<string, Json> = {};
  const components: Json = {
    Error: object({ NeutronError: object({ type: { type: "string" }, message: { type: "string" }, detail: { type: "string" } }, ["type", "message", "detail"]) }, ["NeutronError"]),
    Tags: object({ tags: { type: "array", maxItems: 50, uniqueItems: true, items: { type: "string", maxLength: 255 } } }, ["tags"]),
  };
  for (const kind of registry.kinds.values()) {
    const { resource, name } = kind;
    const all = [...kind.attributes.values()];
    const inherited = resource.parent?.attribute;
    components[name] = object(properties(kind.shown));
    components[`${name}_create`] = object(properties(all.filter((a) => a.post), true), kind.required.filter((r) => r !== inherited));
    if (resource.update !== undefined) components[`${name}_update`] = object(properties(all.filter((a) => a.put)));
    const tag = { tags: [resource.collection] };
    const collection = collectionPath(kind);
    const member = `${collection}/{id}`;
    const one = content(object({ [name]: ref(name) }, [name]));
    const fields = repeated("fields", "Only these attributes.");
    const bulk = resource.bulk === false ? [] : [object({ [resource.collection]: { type: "array", minItems: 1, items: ref(`${name}_create`) } }, [resource.collection])];
    paths[collection] = {
      parameters: pathParameters(collection),
      get: {
        ...tag,
        operationId: `list_${resource.collection}`,
        summary: `List: ${resource.about}`,
        "x-policy": kind.get.text,
        parameters: [
          ...all.filter((a) => a.decl.filter === true).map((a) => repeated(a.name, `Filter: ${a.decl.about} Repeated: any of them.`)),
          ...(kind.tags ? ["tags", "tags-any", "not-tags", "not-tags-any"].map((t) => query(t, "Comma-separated tags.")) : []),
          query("changed_since", "Only what changed at or after this time."),
          fields,
          query("limit", "Length of a page.", { type: "integer", minimum: 0 }),
          query("marker", "Id of the last item seen."),
          query("page_reverse", "The page before the marker.", { type: "boolean" }),
          { ...repeated("sort_key", "Attribute to sort by."), schema: { type: "array", items: { type: "string", enum: all.filter((a) => a.decl.sort === true).map((a) => a.name) } } },
          { ...repeated("sort_dir", "One for each sort_key."), schema: { type: "array", items: { type: "string", enum: ["asc", "desc"] } } },
        ],
        responses: {
          200: {
            description: "The visible ones.",
            content: content(
              object({
                [resource.collection]: { type: "array", items: ref(name) },
                [`${resource.collection}_links`]: { type: "array", items: object({ rel: { type: "string", enum: ["next", "previous"] }, href: { type: "string" } }) },
              }, [resource.collection]),
            ),
          },
          ...refused,
        },
      },
      post: {
        ...tag,
        operationId: `create_${name}`,
        summary: `Create: ${resource.about}`,
        "x-policy": kind.create.text,
        requestBody: { required: true, content: content({ oneOf: [object({ [name]: ref(`${name}_create`) }, [name]), ...bulk] }) },
        responses: { 201: { description: "As created.", headers: generation, content: one }, ...refused },
      },
    };
    const ifMatch = { name: "If-Match", in: "header", description: "revision_number=<n>: refuse if it has changed since.", schema: { type: "string" } };
    const memberPath: Json = {
      parameters: pathParameters(member),
      get: { ...tag, operationId: `show_${name}`, "x-policy": kind.get.text, parameters: [fields], responses: { 200: { description: resource.about, content: one }, ...refused } },
      delete: { ...tag, operationId: `delete_${name}`, "x-policy": kind.delete.text, parameters: [ifMatch], responses: { 204: { description: "Gone.", headers: generation }, ...refused } },
    };
    if (resource.update !== undefined) {
      memberPath.put = {
        ...tag,
        operationId: `update_${name}`,
        "x-policy": kind.update.text,
        parameters: [ifMatch],
        requestBody: { required: true, content: content(object({ [name]: ref(`${name}_update`) }, [name])) },
        responses: { 200: { description: "As changed.", headers: generation, content: one }, ...refused },
      };
    }
    paths[member] = memberPath;
    for (const action of kind.actions.values()) {
      const path = `${member}/${action.name}`;
      const get = action.decl.method === "GET";
      paths[path] = {
        parameters: pathParameters(path),
        [get ? "get" : "put"]: {
          ...tag,
          operationId: `${name}_${action.name}`,
          summary: action.decl.about,
          "x-policy": action.rule.text,
          ...(get ? {} : { requestBody: { content: content({ type: "object" }) } }),
          responses: { 200: { description: action.decl.about, headers: generation, content: content({ type: "object" }) }, ...refused },
        },
      };
    }
    if (kind.tags) {
      const tagsBody = { required: true, content: content(ref("Tags")) };
      const tagsAnswer = { description: "All tags.", content: content(ref("Tags")) };
      const single = `${member}/tags/{tag}`;
      paths[`${member}/tags`] = {
        parameters: pathParameters(member),
        get: { ...tag, operationId: `list_${name}_tags`, responses: { 200: tagsAnswer, ...refused } },
        put: { ...tag, operationId: `replace_${name}_tags`, requestBody: tagsBody, responses: { 200: tagsAnswer, ...refused } },
        post: { ...tag, operationId: `add_${name}_tags`, requestBody: tagsBody, responses: { 201: tagsAnswer, ...refused } },
        delete: { ...tag, operationId: `delete_${name}_tags`, responses: { 204: { description: "Gone." }, ...refused } },
      };
      paths[single] = {
        parameters: pathParameters(single),
        get: { ...tag, operationId: `has_${name}_tag`, responses: { 204: { description: "It has it." }, ...refused } },
        put: { ...tag, operationId: `add_${name}_tag`, responses: { 201: { description: "It has it now." }, ...refused } },
        delete: { ...tag, operationId: `delete_${name}_tag`, responses: { 204: { description: "Gone." }, ...refused } },
      };
    }
  }
  return {
    openapi: "3.1.0",
    info: { title: "Axion Networking API", version: "2.0", description: "OpenStack Networking API v2.0. `-` and `_` in collection names are interchangeable." },
    paths,
    components: { schemas: components, responses: { Refused: { description: "Refused; `type` says why.", content: content(ref("Error")) } } },
    "x-extensions": registry.aliases.map((a) => a.alias),
  };
}
