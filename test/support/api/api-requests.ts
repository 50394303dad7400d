// Requests out of the API's own description: bodies by their schemas, mostly such as may be taken, and mistakes of every kind. All chance is of one
// seed, so that a run can be had again.
import type { SeededRandom } from "../../../src/lib/random.ts";

export type Schema = Readonly<Record<string, unknown>> & {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly required?: readonly string[];
};

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: Schema }[];
  readonly requestBody?: { readonly content: { readonly "application/json": { readonly schema: Schema } } };
  readonly responses: Readonly<Record<string, { readonly content?: { readonly "application/json"?: { readonly schema: Schema } } }>>;
}

export interface Description {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

/** One operation of the description. */
export interface Route {
  readonly method: string;
  readonly path: string;
  /** Resource that the path's members are of: "security_group". */
  readonly kind: string;
  readonly operation: Operation;
}

export const METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] as const;

const last = <T>(list: readonly T[]): T => list[list.length - 1]!;
const resolve = ({ components }: Description, schema: Schema): Schema => (typeof schema.$ref === "string" ? components.schemas[last(schema.$ref.split("/"))]! : schema);

/** Every operation. The resource of a path is the last collection in it. */
export function routesOf(description: Description): Route[] {
  const kinds = new Map<string, string>();
  /** What is in the answer: one, or a list of them. */
  const one = (schema: Schema | undefined): string | undefined => {
    const name = schema?.required?.[0];
    const inside = name === undefined ? undefined : schema!.properties?.[name];
    const $ref = inside?.$ref ?? inside?.items?.$ref;
    return typeof $ref === "string" ? last($ref.split("/")) : undefined;
  };
  for (const [path, operations] of Object.entries(description.paths)) {
    const shown = one(operations.get?.responses["200"]?.content?.["application/json"]?.schema);
    if (shown !== undefined) kinds.set(path.replace(/\/\{id\}$/, ""), shown);
  }
  const kindOf = (path: string): string => {
    for (let at = path; at !== ""; at = at.slice(0, Math.max(0, at.lastIndexOf("/")))) {
      const kind = kinds.get(at);
      if (kind !== undefined) return kind;
    }
    throw new Error(`${path} is of no resource`);
  };
  /** What goes on until somebody ends it is no request of these. */
  const ends = ({ get }: Readonly<Record<string, Operation>>): boolean => !("text/event-stream" in (get?.responses["200"]?.content ?? {}));
  return Object.entries(description.paths).filter(([path, operations]) => ends(operations) && path !== OF_PACKETS).flatMap(([path, operations]) =>
    Object.entries(operations).flatMap(([method, operation]) => (method === "parameters" ? [] : [{ method: method.toUpperCase(), path, kind: kindOf(path), operation }])));
}

/** Of packets, not of resources: test/contract/trace.test.ts asks it. */
const OF_PACKETS = "/v2.0/axion/explain";

const TEXTS = [
  "", " ", "a", "x".repeat(255), "x".repeat(256), "\u{1F600}".repeat(255), "\u0000", "\ud800", "e\u0301", "\u202egnp.exe", "\ufeff", "line\nbreak", "'; DROP TABLE ports; --", "${jndi:ldap://x}", "%00", "../..", "__proto__", "constructor", "toString",
  "null", "None", "true", "0", "-1", "1e309", "0x10", "٣", "NaN", "%(project_id)s", "<b>&amp;</b>", "10.0.0.0/24", "0.0.0.0/0", "::/0", "fe80::1%eth0", "::ffff:10.0.0.1", "255.255.255.255", "127.0.0.1", "224.0.0.1", "10.0.0.256", "010.0.0.1", "10.0.0.1/33",
  "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "FA-16-3E-00-00-01", "01:00:5e:00:00:01", "2026-01-01T00:00:00Z", "00000000-0000-0000-0000-000000000000", "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
] as const;
const NUMBERS = [0, -0, 1, -1, 2, 255, 256, 4094, 4095, 65_535, 65_536, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 53 - 1, 2 ** 53, -(2 ** 53), 1e21, 1e308, 0.5, -1.5, 1e-9] as const;
/** Which JSON.stringify does not write, put in instead of a text of their own. */
const RAW = ["1e999", "-1e999", "123456789012345678901234567890", "0.1e-400", '"\\ud800"', "9007199254740993"] as const;
const PROTOCOLS = ["tcp", "udp", "icmp", "icmpv6", "sctp", "47", null] as const;

export interface Known {
  /** Ids of what there is, by kind; more that have been there. */
  readonly ids: ReadonlyMap<string, readonly string[]>;
  /** Of parts, what they are parts of. */
  readonly parents: ReadonlyMap<string, string>;
  /** Projects and hosts by name. */
  readonly projects: readonly string[];
  readonly hosts: readonly string[];
  /** Addresses, prefixes and MACs that something has. */
  readonly addresses: readonly string[];
  readonly prefixes: readonly string[];
  readonly macs: readonly string[];
}

export class Requests {
  readonly random: SeededRandom;
  private readonly description: Description;
  private readonly known: Known;
  /** How many of a hundred values are mistakes. */
  mistakes: number;

  constructor(random: SeededRandom, description: Description, known: Known, mistakes: number) {
    this.random = random;
    this.description = description;
    this.known = known;
    this.mistakes = mistakes;
  }

  /** Of what is shown of a resource. */
  schema(kind: string): Schema | undefined {
    return this.description.components.schemas[kind];
  }

  below(n: number): number {
    return Math.floor(this.random.next() * n);
  }

  chance(percent: number): boolean {
    return this.random.next() * 100 < percent;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** What is at this name in bodies and queries, of what is known; undefined: the schema says all. */
  private fitting(name: string, schema: Schema): unknown {
    const { ids, projects, hosts, addresses, prefixes, macs } = this.known;
    const any = (list: readonly string[] | undefined): string => (list === undefined || list.length === 0 ? this.random.uuid() : this.pick(list));
    const octet = (): number => this.below(6);
    switch (name) {
      case "project_id":
      case "tenant_id":
      case "target_tenant":
        return this.pick(projects);
      case "binding:host_id":
      case "host":
        return this.pick(hosts);
      case "object_id":
        return any(ids.get(this.pick(["security_group", "security_group", "network", "subnetpool", "address_group"])));
      case "ip_version":
        return this.chance(75) ? 4 : 6;
      case "cidr":
      case "destination":
      case "prefixes":
        return this.chance(30) ? any(prefixes) : this.chance(70) ? `10.${octet()}.${this.below(256)}.0/24` : `fd00:${octet()}:${this.below(256)}::/64`;
      case "addresses":
      case "remote_ip_prefix":
        return this.chance(30) ? any(prefixes) : `10.${octet()}.0.${this.below(256)}/32`;
      case "ip_address":
      case "fixed_ip_address":
      case "floating_ip_address":
      case "internal_ip_address":
      case "gateway_ip":
      case "nexthop":
      case "start":
      case "end":
      case "dns_nameservers":
        return this.chance(60) ? any(addresses) : `10.${octet()}.${octet()}.${this.below(256)}`;
      case "mac_address":
        return this.chance(20) ? any(macs) : `fa:16:3e:${[0, 0, 0].map(() => this.below(256).toString(16).padStart(2, "0")).join(":")}`;
      case "protocol":
        return this.pick(PROTOCOLS);
      case "helper":
        return this.pick(["ftp", "tftp"]);
      case "segmentation_type":
        return this.pick(["vlan", "inherit"]);
      case "port":
        return this.pick([21, 69, 80]);
      case "provider:physical_network":
        return this.pick(["phys0", "phys1"]);
      case "external_port_range":
      case "internal_port_range": {
        const from = 1000 + this.below(20);
        return `${from}:${from + this.below(3)}`;
      }
      case "limit":
        return this.below(6);
      case "marker":
        return any(this.pick([...ids.values()]));
    }
    if ([schema.type].flat().some((type) => type === "integer" || type === "boolean")) return undefined;
    if (schema.format !== "uuid" && !/(^|_)ids?$/.test(name) && name !== "security_groups") return undefined;
    const stem = name.replace(/_ids?$/, "").replace(/s$/, "");
    const kind = [...ids.keys()].find((k) => stem === k || stem.endsWith(`_${k}`)) ?? (stem.includes("network") ? "network" : stem.includes("group") ? "security_group" : undefined);
    return any(kind === undefined || this.chance(5) ? this.pick([...ids.values()]) : ids.get(kind));
  }

  /** Anything. */
  wrong(depth = 2): unknown {
    const n = this.below(depth > 0 ? 9 : 5);
    switch (n) {
      case 0:
        return null;
      case 1:
        return this.chance(50);
      case 2:
        return this.pick(NUMBERS);
      case 3:
      case 4:
        return this.pick(TEXTS);
      case 5:
        return Array.from({ length: this.below(4) }, () => this.wrong(depth - 1));
      case 6:
        return Object.fromEntries(Array.from({ length: this.below(4) }, () => [this.pick(TEXTS), this.wrong(depth - 1)]));
      case 7: {
        let nested: unknown = this.wrong(0);
        for (let i = this.pick([3, 50, 2000]); i > 0; i--) nested = i % 2 === 0 ? [nested] : { a: nested };
        return nested;
      }
      default:
        return Array.from({ length: this.pick([0, 1, 40, 500]) }, () => this.wrong(0));
    }
  }

  private string(schema: Schema): unknown {
    if (schema.format === "uuid") return this.random.uuid();
    if (typeof schema.pattern === "string" && schema.pattern.includes("[0-9a-f]{2}(:")) return `fa:16:3e:00:00:${this.below(100).toString().padStart(2, "0")}`;
    return this.chance(80) ? `n${this.below(10)}` : this.pick(TEXTS);
  }

  value(schema: Schema, name = ""): unknown {
    if (this.chance(this.mistakes)) return this.wrong();
    const s = resolve(this.description, schema);
    const nullable = Array.isArray(s.type) && s.type.includes("null");
    if (nullable && this.chance(15)) return null;
    const type = Array.isArray(s.type) ? s.type.find((t) => t !== "null") as string : s.type;
    if (type !== "array" && type !== "object" && s.anyOf === undefined && s.oneOf === undefined) {
      const fitting = this.fitting(name, s);
      if (fitting !== undefined) return fitting;
    }
    const alternatives = s.anyOf ?? s.oneOf;
    if (alternatives !== undefined) return this.value(this.pick(alternatives), name);
    if (s.enum !== undefined) return this.pick(s.enum);
    switch (type) {
      case "string":
        return this.string(s);
      case "integer": {
        const [min, max] = [(s.minimum ?? -5) as number, (s.maximum ?? 100) as number];
        return this.chance(10) ? this.pick([min, max, min - 1, max + 1]) : min + this.below(Math.min(max - min + 1, 200));
      }
      case "boolean":
        return this.chance(50);
      case "null":
        return null;
      case "array":
        return Array.from({ length: this.pick([0, 1, 1, 2, 3]) }, () => this.value(s.items ?? {}, name));
      case "object":
        return this.object(s, 40);
      default:
        return this.chance(70) ? this.fitting(name, { format: "uuid" }) ?? this.wrong() : this.wrong();
    }
  }

  /** Of what need not be given, so many of a hundred. */
  private object(schema: Schema, percent: number): Record<string, unknown> {
    const s = resolve(this.description, schema);
    const out: Record<string, unknown> = {};
    for (const [name, of] of Object.entries(s.properties ?? {})) {
      const wanted = s.required?.includes(name) === true ? !this.chance(this.mistakes) : this.chance(percent);
      if (wanted) Object.defineProperty(out, name, { value: this.value(of, name), enumerable: true, configurable: true });
    }
    if (this.chance(this.mistakes)) Object.defineProperty(out, this.pick(TEXTS), { value: this.wrong(), enumerable: true, configurable: true });
    return out;
  }

  /** What an action takes whose description says only that it is an object; undefined: it says more, or nothing is known here. */
  private actionBody(path: string): unknown {
    const value = (name: string): unknown => this.value({ type: "string" }, name);
    const some = <T>(make: () => T): T[] => Array.from({ length: 1 + this.below(2) }, make);
    switch (path.slice(path.lastIndexOf("/") + 1)) {
      case "tags":
        return { tags: ["a", "b", "red"].slice(this.below(4)) };
      case "add_router_interface":
      case "remove_router_interface":
        return this.chance(70) ? { subnet_id: value("subnet_id") } : this.chance(80) ? { port_id: value("port_id") } : { subnet_id: value("subnet_id"), port_id: value("port_id") };
      case "add_extraroutes":
      case "remove_extraroutes":
        return { router: { routes: some(() => ({ destination: value("destination"), nexthop: value("nexthop") })) } };
      case "add_external_gateways":
      case "update_external_gateways":
      case "remove_external_gateways":
        return { router: { external_gateways: some(() => ({ network_id: value("network_id"), ...(this.chance(30) && { enable_snat: this.chance(50) }), ...(this.chance(30) && { external_fixed_ips: [{ ip_address: value("ip_address") }] }) })) } };
      case "onboard_network_subnets":
        return { network_id: value("network_id") };
      case "dhcp-networks":
        return { network_id: value("network_id") };
      case "l3-routers":
        return { router_id: value("router_id") };
      default:
        return undefined;
    }
  }

  /** A body as JSON text; undefined: none. */
  body({ operation, path }: Route): string | undefined {
    const schema = operation.requestBody?.content["application/json"].schema;
    if (this.chance(this.mistakes)) return this.pick([undefined, "", "{", "[]", "null", "5", '"x"', "\u0000", `${"[".repeat(5000)}${"]".repeat(5000)}`, `{"a":${"1".repeat(400)}}`, JSON.stringify(this.wrong())]);
    if (schema === undefined) return undefined;
    const acted = this.actionBody(path);
    if (acted !== undefined) return JSON.stringify(acted);
    const percent = this.pick([3, 10, 30, 80]);
    const body = (s: Schema): unknown => {
      const found = resolve(this.description, s);
      const alternatives = found.oneOf;
      if (alternatives !== undefined) return body(this.chance(85) ? alternatives[0]! : this.pick(alternatives));
      // The envelope is all there: what is in it is what there is to choose from.
      return Object.fromEntries(Object.entries(found.properties ?? {}).map(([name, of]) => {
        const inner = resolve(this.description, of);
        if (inner.type === "array" && inner.items !== undefined && resolve(this.description, inner.items).properties !== undefined && found.required?.includes(name) === true) return [name, Array.from({ length: 1 + this.below(3) }, () => this.object(inner.items!, percent))];
        return [name, inner.properties === undefined ? this.value(of, name) : this.object(inner, percent)];
      }));
    };
    const whole = body(schema);
    const text = JSON.stringify(whole);
    if (!this.chance(this.mistakes)) return text;
    // A number or text that no encoder writes, instead of one that is there.
    const at = text.search(/:\d+|:"n\d"/);
    return at < 0 ? text : text.slice(0, at + 1) + this.pick(RAW) + text.slice(at + 1).replace(/^(\d+|"n\d")/, "");
  }

  /** A path with its placeholders filled. */
  path({ path, kind }: Route): string {
    const { ids, parents } = this.known;
    const parent = parents.get(this.pick(ids.get(kind) ?? [""])) ?? "";
    const parts = (ids.get(kind) ?? []).filter((id) => parents.get(id) === parent);
    return path.replaceAll(/\{([^}]+)\}/g, (_, name: string) => {
      if (this.chance(this.mistakes)) return this.pick(["%00", "%", "%zz", "%ff", "..%2f", "%2f", "x".repeat(300), "%F0%9F%98%80", "__proto__", "constructor", "null", "*", "a.json", "%20", "-"]);
      if (name === "tag") return this.pick(["a", "b", "red", "%C3%BC", "a%2Fb", "a,b", "x".repeat(61)]);
      if (name === "project") return this.pick(this.known.projects);
      const of = name === "id" ? kind : name.replace(/_id$/, "");
      const within = parent !== "" && this.chance(95);
      if (within && name !== "id") return parent;
      const list = within ? parts : ids.get(of);
      if (kind === "quota" && name === "id") return this.pick(this.known.projects);
      if (list === undefined || list.length === 0 || this.chance(3)) return this.pick([...ids.values()].flat());
      return this.pick(list);
    });
  }

  /** What comes after the path. */
  query({ operation }: Route): string {
    // Nobody confirms here: who waits for switches waits in vain, and in real time.
    const parameters = (operation.parameters ?? []).filter((p) => p.in === "query" && p.name !== "wait" && p.name !== "timeout");
    if (parameters.length === 0 && !this.chance(this.mistakes)) return "";
    const parts: string[] = [];
    const add = (name: string, value: unknown): void => void parts.push(`${encodeURIComponent(name)}=${encodeURIComponent(typeof value === "string" ? value.replaceAll(/\p{Surrogate}/gu, "") : JSON.stringify(value) ?? "")}`);
    for (let n = this.below(4); n > 0 && parameters.length > 0; n--) {
      const { name, schema } = this.pick(parameters);
      const value = this.chance(this.mistakes) ? this.pick(TEXTS) : this.value(schema.type === "array" ? schema.items! : schema, name);
      if (name === "sort_key") add("sort_dir", this.pick(["asc", "desc"]));
      else if (name === "sort_dir" && !this.chance(this.mistakes)) continue;
      add(name, value);
    }
    if (this.chance(this.mistakes)) parts.push(this.pick(["a", "=", "&&", "%", "%zz=%", "fields", "limit=-1", "limit=1e9", "limit=99999999999999999999", "marker=x", "sort_key=", "page_reverse=x", "__proto__=1", "constructor=1", "id=%00", "fields=id&fields=__proto__", "changed_since=9"]));
    return parts.length === 0 ? "" : `?${parts.join("&")}`;
  }
}
