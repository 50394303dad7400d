// The API's description in OpenAPI 3.1, from the declarations.
import { jsonSchema, type Json } from "./schema.ts";
import type { Kind, KindAction, KindAttribute, Registry } from "../kinds.ts";

const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
const content = (schema: Json): Json => ({ "application/json": { schema } });
const object = (properties: Json, required?: readonly string[]): Json => ({ type: "object", properties, ...(required === undefined || required.length === 0 ? {} : { required }) });

function attributeSchema(kind: Kind, a: KindAttribute, registry: Registry, input: boolean): Json {
  const child = kind.embedded.get(a.name)?.kind.name;
  const own = child === undefined ? jsonSchema(a.form, registry.converters) : { type: "array", items: ref(input ? `${child}_create` : child) };
  return {
    ...own,
    description: a.decl.about,
    ...(input && a.hasDefault ? { default: a.default } : {}),
    ...(a.decl.alias === undefined ? {} : { "x-alias": a.decl.alias }),
    ...(a.decl.policy === undefined ? {} : { "x-policy": a.decl.policy }),
  };
}

const properties = (kind: Kind, attributes: Iterable<KindAttribute>, registry: Registry, input = false): Json =>
  Object.fromEntries([...attributes].map((a) => [a.name, attributeSchema(kind, a, registry, input)]));

/** Path of a collection below the listener's root. */
export function collectionPath(kind: Kind): string {
  const own = kind.path.join("/").replaceAll("_", "-");
  return kind.parent === undefined ? `/v2.0/${own}` : `${collectionPath(kind.parent)}/{${kind.resource.parent!.attribute}}/${own}`;
}

/** Path of a member: a singleton has no id. */
export const memberPath = (kind: Kind): string => (kind.onlyId === undefined ? `${collectionPath(kind)}/{id}` : collectionPath(kind));

const pathParameters = (path: string): Json[] => [...path.matchAll(/\{([^}]+)\}/g)].map((m) => ({ name: m[1], in: "path", required: true, schema: { type: "string" } }));
const query = (name: string, description: string, schema: Json = { type: "string" }): Json => ({ name, in: "query", description, schema });
const repeated = (name: string, description: string): Json => ({ ...query(name, description, { type: "array", items: { type: "string" } }), style: "form", explode: true });

const generation: Json = {
  "X-Axion-Generation": { description: "Generation that the change is part of.", schema: { type: "integer" } },
  "X-Axion-Dataplane": { description: "Where wait asked for it: whether every switch that the change concerns has confirmed it, or some had not after the timeout.", schema: { type: "string", enum: ["confirmed", "pending"] } },
  "X-Axion-Pending-Count": { description: "Of pending: how many switches.", schema: { type: "integer" } },
  "X-Axion-Pending-Hosts": { description: "Likewise, for administrators: their hosts, percent-encoded, 32 at most, with commas between.", schema: { type: "string" } },
};
/** Of every write. */
const waits: readonly Json[] = [
  query("wait", "Hold the answer until every switch that the change concerns has confirmed it.", { type: "string", enum: ["dataplane"] }),
  query("timeout", "With wait: for so many seconds at most; the change is made whatever comes of it.", { type: "number", minimum: 0, maximum: 300, default: 30 }),
];
const refused: Json = { default: { $ref: "#/components/responses/Refused" } };

/** A path without the names of what is in it. */
const formOf = (path: string): string => path.replaceAll(/\{[^}]+\}/g, "{}");

export const actionPath = (base: string, action: KindAction): string => `${base}/${(action.decl.path ?? action.name)}`;

/** What an action answers: with the member, with rows of a resource, or as it says. */
function answerOf(kind: Kind, { decl }: KindAction, registry: Registry): Json {
  if ("shows" in decl && decl.shows) return object({ [kind.name]: ref(kind.name) }, [kind.name]);
  if ("lists" in decl) {
    const { collection } = registry.kinds.get(decl.lists.name)!.resource;
    return object({ [collection]: { type: "array", items: ref(decl.lists.name) } }, [collection]);
  }
  if (decl.answers === undefined) return { type: "object" };
  const parts = Object.entries(decl.answers).map(([key, what]) => [key, "name" in what ? ref(what.name) : jsonSchema(what, registry.converters)] as const);
  return object(Object.fromEntries(parts), parts.map(([key]) => key));
}

/** Whether an answer to it has no body. */
const isSilent = ({ status, decl }: KindAction): boolean => status === 204 || (decl.answers !== undefined && Object.keys(decl.answers).length === 0);

function actionOperation(kind: Kind, action: KindAction, registry: Registry): Json {
  const get = action.method === "GET";
  const form = ("check" in action.decl ? action.decl.check : undefined) ?? action.decl.form;
  const body = form === undefined ? { type: "object" } : jsonSchema(form, registry.converters);
  return {
    operationId: `${kind.name}_${action.name}`,
    summary: action.decl.about,
    "x-policy": action.rule.text,
    ...(get ? {} : { parameters: waits }),
    ...(get || action.method === "DELETE" || action.decl.bodyless === true ? {} : { requestBody: { content: content(body) } }),
    responses: {
      [action.status]: { description: action.decl.about, ...(get ? {} : { headers: generation }), ...(isSilent(action) ? {} : { content: content(answerOf(kind, action, registry)) }) },
      ...refused,
    },
  };
}

/** Changes as they happen; clients/watch.ts. */
function watchPath(registry: Registry, components: Record<string, Json>): Json {
  const names = [...registry.kinds.values()].filter((kind) => kind.resource.computed === undefined).map((kind) => kind.name);
  const integer = { type: "integer" };
  const events: Record<string, Json> = {
    change: object({
      event: { type: "string", enum: ["created", "updated", "deleted"] }, generation: integer, resource: { type: "string", enum: names }, id: { type: "string" },
      ...Object.fromEntries(names.map((name) => [name, { ...ref(name), description: `Of the resource ${name}, unless it is deleted: as it is shown.` }])),
    }, ["event", "generation", "resource", "id"]),
    ready: object({ generation: integer, resources: { type: "array", items: { type: "string", enum: names } } }, ["generation", "resources"]),
    generation: object({ generation: integer }, ["generation"]),
    reset: object({ reason: { type: "string" } }, ["reason"]),
  };
  for (const [name, schema] of Object.entries(events)) components[`watch_${name}`] = schema;
  return {
    get: {
      tags: ["axion"],
      operationId: "watch",
      summary: "Changes of what the caller may see, as server-sent events.",
      description: "Data of `created`, `updated` and `deleted` is a watch_change, of `ready` (all that was asked for with since has been told) a watch_ready, of `generation` (all up to it has been told) a watch_generation, of `reset` (the stream ends: list, and watch anew) a watch_reset. The ids of events are generations to come back with.",
      parameters: [
        { ...repeated("resource", "Only these resources; default: all."), schema: { type: "array", items: { type: "string", enum: names } } },
        query("project_id", "Only rows of this project."),
        query("since", "First what has changed since this generation; 410 if that is not known any more.", { type: "integer", minimum: 0 }),
        { name: "Last-Event-ID", in: "header", description: "As since.", schema: { type: "integer", minimum: 0 } },
      ],
      responses: { 200: { description: "Goes on until one of both ends it.", content: { "text/event-stream": { schema: { type: "string", "x-data": Object.keys(events).map((name) => ref(`watch_${name}`)) } } } }, ...refused },
    },
  };
}

function explainPath(): Json {
  const text = { type: "string" };
  const resource = object({ type: text, id: text, name: text }, ["type", "id"]);
  const way: Record<string, Json> = {
    verdict: { type: "string", enum: ["delivered", "dropped", "unknown"] },
    delivered: { type: "array", items: object({ id: text }, ["id"]) },
    hops: { type: "array", items: object({ table: text, app: text, rule: text, resources: { type: "array", items: resource } }, ["table", "app", "rule", "resources"]) },
    cause: { type: ["object", "null"], properties: { reason: text, text, resources: { type: "array", items: resource }, cure: object({ text, call: { type: "object" } }, ["text"]) } },
  };
  return {
    get: {
      tags: ["axion"],
      operationId: "explain",
      summary: "What becomes of a packet of one of the project's ports, and why.",
      description: "Of resources that the caller does not see nothing is named.",
      parameters: [
        { ...query("from", "Id of the port that sends."), required: true }, { ...query("to", "Id of a port, or an address."), required: true },
        query("protocol", "icmp (default), tcp, udp, sctp, ipv6-icmp or a number."), query("port", "The receiver's, of tcp, udp and sctp.", { type: "integer", minimum: 1, maximum: 65_535 }),
      ],
      responses: { 200: { description: "Its way, and that of the answer.", content: content(object({ explanation: object({ ...way, answer: { type: ["object", "null"], properties: way } }, ["verdict", "delivered", "hops", "cause", "answer"]) }, ["explanation"])) }, ...refused },
    },
  };
}

export function openApi(registry: Registry): Json {
  const paths: Record<string, Json> = {};
  const components: Record<string, Json> = {
    Error: object({ NeutronError: object({ type: { type: "string" }, message: { type: "string" }, detail: { type: "string" } }, ["type", "message", "detail"]) }, ["NeutronError"]),
  };
  for (const kind of registry.kinds.values()) {
    const { resource, name } = kind;
    const all = [...kind.attributes.values()];
    const inherited = resource.parent?.attribute;
    components[name] = object(properties(kind, kind.shown, registry));
    if (kind.can.create) components[`${name}_create`] = object(properties(kind, all.filter((a) => a.post), registry, true), kind.required.filter((r) => r !== inherited));
    if (kind.can.update) components[`${name}_update`] = object(properties(kind, all.filter((a) => a.put), registry));
    const tag = { tags: [resource.collection] };
    const collection = collectionPath(kind);
    const member = memberPath(kind);
    const one = content(object({ [name]: ref(name) }, [name]));
    const fields = repeated("fields", "Only these attributes.");
    const sortable = all.filter((a) => a.decl.sort === true).map((a) => a.name);
    const several = (items: string): Json[] => (resource.bulk === false ? [] : [object({ [resource.collection]: { type: "array", minItems: 1, items: ref(items) } }, [resource.collection])]);
    const collectionPaths: Json = {
      parameters: pathParameters(collection),
      get: {
        ...tag,
        operationId: `list_${resource.collection}`,
        summary: `List: ${resource.about}`,
        "x-policy": kind.get.text,
        parameters: [
          ...all.filter((a) => a.decl.filter === true).map((a) => repeated(a.name, `Filter: ${a.decl.about} Repeated: any of them.`)),
          ...(kind.tags ? ["tags", "tags-any", "not-tags", "not-tags-any"].map((t) => query(t, "Comma-separated tags.")) : []),
          ...(kind.standard.has("timestamps") ? [query("changed_since", "Only what changed at or after this time.")] : []),
          fields,
          query("limit", "Length of a page.", { type: "integer", minimum: 0 }),
          query("marker", "Id of the last item seen."),
          query("page_reverse", "The page before the marker.", { type: "boolean" }),
          ...(sortable.length === 0 ? [] : [
            { ...repeated("sort_key", "Attribute to sort by."), schema: { type: "array", items: { type: "string", enum: sortable } } },
            { ...repeated("sort_dir", "One for each sort_key."), schema: { type: "array", items: { type: "string", enum: ["asc", "desc"] } } },
          ]),
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
    };
    if (kind.can.create) {
      collectionPaths.post = {
        ...tag,
        operationId: `create_${name}`,
        summary: `Create: ${resource.about}`,
        "x-policy": kind.create.text,
        parameters: waits,
        requestBody: { required: true, content: content({ oneOf: [object({ [name]: ref(`${name}_create`) }, [name]), ...several(`${name}_create`)] }) },
        responses: { 201: { description: "As created; several where several were asked for.", headers: generation, content: content({ oneOf: [object({ [name]: ref(name) }, [name]), ...several(name)] }) }, ...refused },
      };
    }
    if (kind.onlyId === undefined) paths[collection] = collectionPaths;
    const ifMatch = { name: "If-Match", in: "header", description: "revision_number=<n>: refuse if it has changed since.", schema: { type: "string" } };
    const memberPaths: Json = {
      parameters: pathParameters(member),
      get: { ...tag, operationId: `show_${name}`, "x-policy": kind.get.text, parameters: [fields], responses: { 200: { description: resource.about, content: one }, ...refused } },
    };
    if (kind.can.delete) {
      memberPaths.delete = { ...tag, operationId: `delete_${name}`, "x-policy": kind.delete.text, parameters: [ifMatch, ...waits], responses: { 204: { description: "Gone.", headers: generation }, ...refused } };
    }
    if (kind.can.update) {
      memberPaths.put = {
        ...tag,
        operationId: `update_${name}`,
        "x-policy": kind.update.text,
        parameters: [ifMatch, ...waits],
        requestBody: { required: true, content: content(object({ [name]: ref(`${name}_update`) }, [name])) },
        responses: { 200: { description: "As changed.", headers: generation, content: one }, ...refused },
      };
    }
    paths[member] = memberPaths;
    for (const [base, actions] of [[collection, kind.collectionActions], [member, kind.actions]] as const) {
      for (const action of actions) {
        const own = actionPath(base, action);
        // An action of the collection may be at the path of its members: one path of the description, whatever each calls what is in it.
        const path = formOf(own) === formOf(member) ? member : own;
        paths[path] = { parameters: pathParameters(path), ...paths[path], [action.method.toLowerCase()]: { ...tag, ...actionOperation(kind, action, registry) } };
      }
    }
  }
  paths["/v2.0/axion/watch"] = watchPath(registry, components);
  paths["/v2.0/axion/explain"] = explainPath();
  return {
    openapi: "3.1.0",
    info: { title: "Axion Networking API", version: "2.0", description: "OpenStack Networking API v2.0. `-` and `_` in collection names are interchangeable." },
    paths,
    components: { schemas: components, responses: { Refused: { description: "Refused; `type` says why. 429: too many requests.", headers: { "Retry-After": { description: "Where the same may succeed later: in so many seconds.", schema: { type: "integer" } } }, content: content(ref("Error")) } } },
    "x-extensions": registry.aliases.map((a) => a.alias),
  };
}
