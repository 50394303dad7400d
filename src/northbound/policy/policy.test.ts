// Access rules: oslo.policy's syntax, what names mean for a resource, the book, and the file that overrides it.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { garden, labels } from "../testing/declarations.ts";
import { Api, as, type Caller } from "../testing/support.ts";
import { formatPolicy, impliedRoles, PolicyBook, PolicyFile, type Subject } from "./index.ts";
import { parseCheck } from "./parse.ts";
import { parsePolicy } from "./file.ts";

const caller = (roles: string[], projectId = "p", userId = "u"): Caller => ({ requestId: "", userId, projectId, roles: new Set(roles), admin: roles.includes("admin") });
const view = undefined as never;
const network = { name: "network", has: (a: string) => ["id", "shared", "mtu"].includes(a), value: (row: Readonly<Record<string, unknown>>, a: string) => row[a], row: (id: string) => ({ id, shared: id === "n-shared", mtu: 1400 }) };
const subject: Subject = {
  name: "port",
  collection: "ports",
  relations: { "network:project_id": () => "q", granted: (row) => (row as { id: string }).id === "granted" },
  has: (a) => ["id", "project_id", "device_owner", "device_id", "network_id", "admin_state_up", "visibility", "name"].includes(a),
  value: (row, a) => row[a],
  parent: { resource: "network", attribute: "network_id" },
  other: (name) => (name === "network" || name === "networks" ? network : undefined),
};
const ruleOf = (text: unknown, base: Readonly<Record<string, string>> = {}): ReturnType<ReturnType<PolicyBook["of"]>["rule"]> => {
  const book = new PolicyBook();
  for (const [name, rule] of Object.entries(base)) book.base(name, rule);
  const rule = book.of(subject).rule("get_port", "", "");
  book.seal();
  book.override({ get_port: text });
  return rule;
};

describe("what a rule says", () => {
  it.each<[unknown, Caller, Record<string, unknown>, boolean]>([
    ["", caller([]), {}, true],
    ["@", caller([]), {}, true],
    ["!", caller(["admin"]), {}, false],
    [[], caller([]), {}, true],
    [null, caller([]), {}, true],
    [[["role:reader", "project_id:%(project_id)s"], ["role:admin"]], caller(["reader"]), { project_id: "p" }, true],
    [[["role:reader", "project_id:%(project_id)s"], ["role:admin"]], caller(["reader"]), { project_id: "q" }, false],
    [[["role:reader", "project_id:%(project_id)s"], ["role:admin"]], caller(["admin"]), { project_id: "q" }, true],
    [["role:reader", "role:admin"], caller(["reader"]), {}, true],
    [[[]], caller(["admin"]), {}, false],
    ["role:Admin", caller(["admin"]), {}, true],
    ["rule:admin_only or (role:member and project_id:%(project_id)s)", caller(["member"]), { project_id: "p" }, true],
    ["rule:admin_only or (role:member and project_id:%(project_id)s)", caller(["member"]), { project_id: "q" }, false],
    ["rule:admin_only or (role:member and project_id:%(project_id)s)", caller(["reader"]), { project_id: "p" }, false],
    ["tenant_id:%(tenant_id)s", caller([]), { project_id: "p" }, true],
    ["project_id:%(project_id)s", caller([], ""), { project_id: "" }, false],
    ["user_id:%(device_id)s", caller([]), { device_id: "u" }, true],
    ["user_id:%(device_id)s", caller([], "p", ""), { device_id: "" }, false],
    ["project_id:%(admin_state_up)s", caller([]), { admin_state_up: true }, false],
    ["user_id:u", caller([]), {}, true],
    ["is_admin:True", caller(["admin"]), {}, true],
    ["is_admin:True", caller(["member"]), {}, false],
    ["project_id:p", caller([]), {}, true],
    ["role:member and tenant_id:%(network:tenant_id)s", caller(["member"], "q"), {}, true],
    ["role:member and tenant_id:%(network:tenant_id)s", caller(["member"], "p"), {}, false],
    ["project_id:%(ext_parent:tenant_id)s", caller([], "q"), {}, true],
    ["field:networks:shared=True", caller([]), { network_id: "n-shared" }, true],
    ["field:networks:shared=True", caller([]), { network_id: "n" }, false],
    ["field:networks:shared=True", caller([]), {}, false],
    ["field:networks:shared=False", caller([]), { network_id: "n" }, true],
    ["1400:%(network:mtu)s", caller([]), { network_id: "n" }, true],
    ["not field:port:device_owner=~^network:", caller([]), { device_owner: "network:dhcp" }, false],
    ["not field:port:device_owner=~^network:", caller([]), { device_owner: "compute:a" }, true],
    ["field:port:device_owner=~work", caller([]), { device_owner: "network:dhcp" }, false],
    ["field:ports:admin_state_up=true", caller([]), { admin_state_up: true }, true],
    ["'public':%(visibility)s", caller([]), { visibility: "public" }, true],
    ["\"public\":%(visibility)s", caller([]), { visibility: "private" }, false],
    ["True:%(admin_state_up)s", caller([]), { admin_state_up: true }, true],
    ["None:%(visibility)s", caller([]), { visibility: null }, true],
    ["relation:granted", caller([]), { id: "granted" }, true],
    ["relation:granted", caller([]), { id: "x" }, false],
    ["role:a AND role:b or role:c", caller(["c"]), {}, true],
    ["role:a and (role:b or role:c)", caller(["c"]), {}, false],
    ["role:c or role:a and role:b", caller(["a"]), {}, false],
    ["not role:a and role:b", caller(["b"]), {}, true],
    ["not (role:a or role:b)", caller(["b"]), {}, false],
    ["not not role:a", caller(["a"]), {}, true],
    ["((role:a))", caller(["a"]), {}, true],
  ])("%j for %j of %j", (text, who, row, expected) => expect(ruleOf(text).allows(who, { row }, view)).toBe(expected));

  it("what a request gives comes before what is there, but for who owns it", () => {
    const target = { row: { device_owner: "compute:a", device_id: "someone" }, given: { device_owner: "network:dhcp", device_id: "u" } };
    expect(ruleOf("field:port:device_owner=~^network:").allows(caller([]), target, view)).toBe(true);
    expect(ruleOf("user_id:%(device_id)s").allows(caller([]), target, view)).toBe(false);
  });

  it.each([
    ["role:admin or", "ends too early"],
    ["(role:admin", "lacks a closing parenthesis"],
    ["role:admin)", "has ')' in the wrong place"],
    ["role:admin role:member", "has 'role:member' in the wrong place"],
    ["or role:admin", "has 'or' in the wrong place"],
    ["stranger", "has 'stranger', where <kind>:<match>, @ or ! is expected"],
    ["colour:red", "has 'colour:red', and colour is no check"],
    ["http://policy/check", "checks by a remote server are not supported"],
    ["field:port=x", "where field:<resource>:<attribute>=<value> is expected"],
    ["field:port:name=~(", "is no regular expression"],
    ["project_id:x%(project_id)s", "must stand alone"],
    [{ a: 1 }, "is neither a text nor a list"],
    [[[1]], "is a list that does not hold texts"],
    ["(".repeat(500) + "role:a", "is nested deeper than 100 levels"],
    ["rule:nobody", "asks for rule:nobody, which is not there"],
    ["project_id:%(nothing)s", "asks for %(nothing)s, which a port has not"],
    ["project_id:%(router:project_id)s", "asks for %(router:project_id)s, which a port has not"],
    ["field:routers:ha=True", "asks for field:routers:ha, which a port has not"],
    ["relation:stranger", "names relation:stranger, which a port has not"],
  ])("%j is refused: %s", (text, why) => expect(() => ruleOf(text)).toThrow(new RegExp(`^the access rule get_port .*${why.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`)));

  it("any bytes make a rule or a refusal, nothing else", () => {
    const words = ["role:a", "(", ")", "not", "and", "or", "@", "!", "rule:x", "field:a:b=c", "%(x)s", "'a':%(b)s", ":", "", "user_id:%(id)s", "é"];
    let seed = 7;
    const next = (): number => (seed = (seed * 1103515245 + 12345) & 0x7fffffff);
    let good = 0;
    for (let i = 0; i < 3000; i++) {
      const text = Array.from({ length: next() % 7 }, () => words[(next() >> 8) % words.length]).join((next() >> 9) % 3 === 0 ? "" : " ");
      try {
        parseCheck(text);
        good++;
      } catch (error) {
        expect((error as Error).message).toMatch(/^(has|ends|lacks|is|names|asks)/);
      }
    }
    expect(good).toBeGreaterThan(100);
  });
});

describe("what is decided once for a caller", () => {
  const text = "rule:admin_only or (role:member and project_id:%(project_id)s) or (role:reader and project_id:%(network:project_id)s)";
  it.each<[string[], boolean | undefined, "all" | string[]]>([
    [["admin"], true, "all"],
    [["member"], undefined, ["project"]],
    [["member", "reader"], undefined, ["project", "network:project_id"]],
    [[], false, []],
  ])("roles %j", (roles, certain, scope) => {
    const rule = ruleOf(text);
    expect(rule.certain(caller(roles))).toBe(certain);
    const found = rule.scope(caller(roles));
    expect(found === "all" ? found : [...found]).toEqual(scope);
  });
  it("a project or user that the rule names", () => {
    expect(ruleOf("project_id:p").certain(caller([]))).toBe(true);
    expect(ruleOf("not user_id:v and project_id:q").certain(caller([]))).toBe(false);
    expect(ruleOf("project_id:p and field:port:name=x").certain(caller([]))).toBeUndefined();
  });
  it("what is not asked of rows does not narrow lists wrongly", () => {
    expect(ruleOf("not project_id:%(project_id)s").scope(caller([]))).toBe("all");
    expect(ruleOf("field:port:name=x or project_id:%(project_id)s").scope(caller([]))).toBe("all");
    expect([...(ruleOf("field:port:name=x and project_id:%(project_id)s").scope(caller([])) as ReadonlySet<string>)]).toEqual(["project"]);
  });
});

describe("the book", () => {
  it("names what does not fit, at the start", () => {
    const book = (declare: (b: PolicyBook) => void) => (): void => {
      const b = new PolicyBook();
      declare(b);
      b.seal();
    };
    expect(book((b) => b.base("a", "rule:b"))).toThrow("the access rule a asks for rule:b, which is not there");
    expect(book((b) => { b.base("a", "rule:b"); b.base("b", "not rule:a"); })).toThrow("access rules ask for each other: a -> b -> a");
    expect(book((b) => { b.base("a", "role:x"); b.base("a", "role:y"); })).toThrow('the access rule a is declared twice, as "role:x" and as "role:y"');
    expect(book((b) => b.of(subject).rule("get_port", "rule:stranger", ""))).toThrow("the access rule get_port asks for rule:stranger, which is not there");
    expect(book((b) => b.of(subject).rule("get_port", "relation:stranger", ""))).toThrow("the access rule get_port names relation:stranger, which a port has not");
    expect(book((b) => { b.base("base", "project_id:%(stranger:project_id)s"); b.of(subject).rule("get_port", "rule:base", ""); })).toThrow("the access rule base asks for %(stranger:project_id)s, which a port has not");
  });

  it("is taken as a whole or not at all", () => {
    const book = new PolicyBook();
    const rule = book.of(subject).rule("get_port", "role:reader", "See a port.");
    book.seal();
    const { version } = book;
    expect(() => book.override({ get_port: "role:other", context_is_admin: "role:" })).toThrow("the access rule context_is_admin has 'role:'");
    expect(() => book.override({ get_port: "rule:mine", mine: "rule:get_port" })).toThrow("access rules ask for each other");
    expect([rule.text, book.version]).toEqual(["role:reader", version]);
    book.override({ get_port: "rule:mine", mine: "role:other", "get_port:name": "role:boss" });
    expect(rule.allows(caller(["other"]), { row: {} }, view)).toBe(true);
    expect(rule.allows(caller(["reader"]), { row: {} }, view)).toBe(false);
    book.override({});
    expect(rule.allows(caller(["reader"]), { row: {} }, view)).toBe(true);
  });

  it("lets be what a file says of functions that are not installed", () => {
    const book = new PolicyBook();
    const mine = book.of(subject).rule("get_port", "role:reader", "");
    book.seal();
    book.override({ create_firewall: "rule:firewall_owner and project_id:%(firewall:project_id)s", get_port: "role:other" });
    expect(mine.text).toBe("role:other");
    expect(() => book.override({ "update_port:name": "rule:firewall_owner" })).toThrow("the access rule update_port:name asks for rule:firewall_owner");
    expect(() => book.override({ "update_port:name": "rule:a", a: "rule:b", b: "rule:a" })).toThrow("access rules ask for each other: a -> b -> a");
  });

  it("is printed so that it is read again as it was", () => {
    const book = new PolicyBook();
    book.of(subject).rule("get_port", "role:reader", "See a port.");
    book.seal();
    book.override({ get_port: [["role:member", "user_id:u"]], mine: "role:\"quoted\"" });
    const text = formatPolicy(book);
    expect(text).toContain('# See a port.\n#"get_port": "role:reader"\n"get_port": ');
    expect(text).toContain('#"context_is_admin": "role:admin"\n');
    expect(parse(text)).toEqual({ get_port: '[["role:member","user_id:u"]]', mine: 'role:"quoted"' });
    // With every default taken in, it is the book itself.
    const all = new PolicyBook();
    all.of(subject).rule("get_port", "role:reader", "See a port.");
    all.seal();
    all.override(parsePolicy(formatPolicy({ entries: () => book.entries().map((e) => ({ ...e, fallback: undefined, override: e.fallback })).filter((e) => e.override !== undefined) })));
    for (const { fallback, override } of all.entries()) expect(override).toBe(fallback);
  });

  it("reads YAML and JSON", () => {
    expect(parsePolicy('{"a": "role:x", "b": [["role:y"]]}')).toEqual({ a: "role:x", b: [["role:y"]] });
    expect(parsePolicy('# mine\n"a:b": role:x\nc: "!"\n')).toEqual({ "a:b": "role:x", c: "!" });
    expect(parsePolicy("")).toEqual({});
    for (const bad of ["- a", "a: [", "text", "a: 1\na: 2"]) expect(() => parsePolicy(bad), bad).toThrow(/line|mapping/);
  });
});

it("roles imply others", () => {
  expect([...impliedRoles([" Admin "])].sort()).toEqual(["admin", "manager", "member", "reader"]);
  expect([...impliedRoles(["service"])]).toEqual(["service"]);
});

describe("the file", () => {
  let folder: string;
  let path: string;
  let api: Api;
  const lines: { msg: string; level: number }[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => lines.push(JSON.parse(line) as { msg: string; level: number }) });
  const write = (text: string): void => {
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
  };
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "policy-"));
    path = join(folder, "policy.yaml");
    write('create_bed: "role:gardener"\n');
    api = await Api.make([garden, labels], {}, undefined, undefined, { policyFile: path, log });
  });
  afterAll(async () => {
    await api.close();
    rmSync(folder, { recursive: true });
  });
  const create = async (roles: string, values: object = {}): Promise<number> => (await api.post("/v2.0/garden-beds", { bed: values }, as("p1", roles))).status;

  it("overrides the defaults from the start, attribute rules that nobody declared among them", async () => {
    expect([await create("gardener"), await create("member")]).toEqual([201, 403]);
    write('"create_bed:size": "role:surveyor"\n"get_bed:size": "role:surveyor"\n"create_plant:profile:colour": "role:painter"\n');
    api.nb.policyFile!.reload();
    expect([await create("member"), await create("member", { size: 2 }), await create("member,surveyor", { size: 2 })]).toEqual([201, 403, 201]);
    const bed = await api.bed({ size: 3 }, as("p1", "member,surveyor"));
    expect([bed.size, (await api.get(`/v2.0/garden-beds/${bed.id}`, as("p1"))).body.bed.size]).toEqual([3, undefined]);
    const plant = async (profile: object, roles: string): Promise<string | undefined> => (await api.post("/v2.0/plants", { plant: { bed_id: bed.id, profile } }, as("p1", roles))).body.NeutronError?.message;
    expect(await plant({ colour: "red" }, "member")).toBe("(rule:create_plant and rule:create_plant:profile:colour) is disallowed by policy");
    expect(await plant({ colour: "red" }, "member,painter")).toBeUndefined();
    expect(await plant({ scent: "none" }, "member")).toBeUndefined();
  });

  it("is read again when it changes, without being asked", async () => {
    write('create_bed: "role:watcher"\n');
    for (let i = 0; i < 100 && (await create("watcher")) !== 201; i++) await new Promise((done) => setTimeout(done, 100));
    expect([await create("watcher"), await create("member")]).toEqual([201, 403]);
  });

  it("that is invalid or gone keeps the last good book, says so once and for as long as it lasts", async () => {
    write('create_bed: "role:last"\n');
    api.nb.policyFile!.reload();
    lines.length = 0;
    for (const bad of ['create_bed: "rolex"\n', 'create_bed: "role:a"\ncreate_bed: "role:b"\n', 'create_bed: "rule:nobody"\n', "just text"]) {
      write(bad);
      const before = lines.length;
      api.nb.policyFile!.reload();
      api.nb.policyFile!.reload();
      expect(lines.length - before, bad).toBe(1);
      expect(api.nb.policyFile!.problem?.text).toContain(path);
      expect([await create("last"), await create("member"), await create("a")]).toEqual([201, 403, 403]);
    }
    rmSync(path);
    api.nb.policyFile!.reload();
    expect(api.nb.policyFile!.problem?.text).toContain("no such file");
    expect(await create("last")).toBe(201);
    write('create_bed: "role:last"\n');
    api.nb.policyFile!.reload();
    expect(api.nb.policyFile!.problem).toBeUndefined();
    expect(await create("last")).toBe(201);
  });

  it("that cannot be used ends the start", () => {
    const book = new PolicyBook();
    book.seal();
    const bad = join(folder, "bad.yaml");
    writeFileSync(bad, "a: b: c");
    expect(() => new PolicyFile(bad, book, log)).toThrow(`the policy file ${bad}: line 1: `);
    expect(() => new PolicyFile(join(folder, "none"), book, log)).toThrow("cannot be read: no such file");
  });
});
