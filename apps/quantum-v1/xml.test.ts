// XML in and out: the forms that v1 has, and what is refused.
import fc from "fast-check";
import { expect, test } from "vitest";
import { readXml, writeXml, XML_LIMITS } from "./xml.ts";

const read = (text: string | Uint8Array): [string, Record<string, string>] => {
  const { name, fields } = readXml(typeof text === "string" ? Buffer.from(text) : text);
  return [name, Object.fromEntries(fields)];
};

test.each<[string, string, string, Record<string, string>]>([
  ["attributes", '<port state="ACTIVE"/>', "port", { state: "ACTIVE" }],
  ["child elements", "<network><name>n 1</name></network>", "network", { name: "n 1" }],
  ["both, and others", '<network name="a"><name>b</name><nova_id>c</nova_id></network>', "network", { name: "b", nova_id: "c" }],
  ["a namespace", '<network xmlns="http://openstack.org/quantum/api/v1.1" name="n"/>', "network", { name: "n" }],
  ["prefixes", '<q:network xmlns:q="urn:q"><q:name>n</q:name></q:network>', "network", { name: "n" }],
  ["a declaration and space", '\ufeff<?xml version="1.0" encoding="UTF-8"?>\n<attachment>\n  <id>x</id>\n</attachment>\n', "attachment", { id: "x" }],
  ["XML's own entities and characters by number", "<network><name>&lt;&amp;&gt;&quot;&apos;&#233;&#x1F600;</name></network>", "network", { name: "<&>\"'é😀" }],
  ["CDATA and comments", "<network><!-- c --><name><![CDATA[<n>]]></name></network>", "network", { name: "<n>" }],
  ["nothing", "<port/>", "port", {}],
  ["an empty field", "<network><name/></network>", "network", { name: "" }],
  ["what is deeper is no field", "<port><allowed_address_pairs><pair><mac_address>m</mac_address></pair></allowed_address_pairs><state>DOWN</state></port>", "port", { state: "DOWN" }],
  ["names that objects have", '<network __proto__="1"><constructor>2</constructor></network>', "network", Object.fromEntries([["__proto__", "1"], ["constructor", "2"]])],
])("reads %s", (_, text, name, fields) => {
  expect(read(text)).toEqual([name, fields]);
});

const bomb = `<!DOCTYPE n [<!ENTITY a0 "ha">${Array.from({ length: 30 }, (_, i) => `<!ENTITY a${i + 1} "&a${i};&a${i};">`).join("")}]><network><name>&a30;</name></network>`;

test.each<[string, string | Uint8Array, string]>([
  ["entities that grow", bomb, "a document type is not accepted"],
  ["an external entity", '<!DOCTYPE n [<!ENTITY x SYSTEM "file:///etc/passwd">]><network><name>&x;</name></network>', "a document type is not accepted"],
  ["a document type alone", '<!DOCTYPE network SYSTEM "http://127.0.0.1/x.dtd"><network name="n"/>', "a document type is not accepted"],
  ["an entity of nobody's", "<network><name>&nbsp;</name></network>", "entity"],
  ["depth", "<a>".repeat(10_000), `nested more than ${XML_LIMITS.depth} deep`],
  ["breadth", `<network>${"<a/>".repeat(XML_LIMITS.parts)}</network>`, `more than ${XML_LIMITS.parts} elements and attributes`],
  ["attributes", `<network ${Array.from({ length: XML_LIMITS.parts + 1 }, (_, i) => `a${i}=""`).join(" ")}/>`, `more than ${XML_LIMITS.parts} elements and attributes`],
  ["size", `<network name="${"x".repeat(XML_LIMITS.bytes)}"/>`, `longer than ${XML_LIMITS.bytes} bytes`],
  ["no end", "<network><name>n</name>", "unclosed"],
  ["crossing elements", "<network><name>n</network></name>", ""],
  ["two roots", '<network name="a"/><network name="b"/>', ""],
  ["an attribute twice", '<network name="a" name="b"/>', "duplicate"],
  ["an unbound prefix", "<q:network/>", "unbound"],
  ["text in the root", "<network>foo</network>", "text stands in <network> itself"],
  ["text alone", "network", ""],
  ["a bad character", "<network><name>\u0001</name></network>", "disallowed character"],
  ["a bad reference", "<network><name>&#0;</name></network>", ""],
  ["half a character", "<network><name>&#xD800;</name></network>", ""],
  ["half a character in an attribute", '<network name="&#56320;"/>', ""],
  ["half a character as bytes", Buffer.concat([Buffer.from('<network name="'), Buffer.of(0xed, 0xa0, 0x80), Buffer.from('"/>')]), "it is not UTF-8"],
  ["no UTF-8", Uint8Array.of(0x3c, 0x61, 0xff, 0x2f, 0x3e), "it is not UTF-8"],
  ["another encoding", '<?xml version="1.0" encoding="UTF-16"?><network name="n"/>', "it is said to be in UTF-16"],
  ["JSON", '{"network": {"name": "n"}}', ""],
])("refuses %s", (_, text, why) => {
  let refusal: unknown;
  const before = performance.now();
  try {
    read(text);
  } catch (error) {
    refusal = error;
  }
  expect(refusal).toMatchObject({ status: 400 });
  expect((refusal as Error).message).toContain(why);
  expect(performance.now() - before).toBeLessThan(1000);
});

test("whatever it is, it is read or refused", () => {
  const piece = fc.constantFrom("<", ">", "/", "<network>", "</network>", "<name>", "</name>", ' a="', '"', "'", "&", "&amp;", "<!DOCTYPE", "<!--", "-->", "<![CDATA[", "]]>", "<?xml", "?>", "xmlns:q=", "q:", "\u0000", "é");
  fc.assert(fc.property(fc.array(fc.oneof(piece, fc.string({ unit: "binary" })), { maxLength: 40 }), (parts) => {
    try {
      readXml(Buffer.from(parts.join("")));
    } catch (error) {
      expect(error).toMatchObject({ status: 400 });
    }
  }), { numRuns: 500 });
});

test("what is written is read again", () => {
  expect(writeXml("network", { id: "i", ports: [{ id: "p", attachment: { id: "v" } }, { id: "r" }] }, "urn:q")).toBe('<network xmlns="urn:q" id="i"><ports><port id="p"><attachment id="v"/></port><port id="r"/></ports></network>');
  expect(writeXml("network", { ports: [] })).toBe("<network><ports/></network>");
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), (name) => {
    expect(read(writeXml("network", { name }, "urn:q"))).toEqual(["network", { name }]);
  }), { numRuns: 300 });
  expect(read(writeXml("network", { name: "a\u0001b\ud800c\uffff\t\n\r" }))).toEqual(["network", { name: "a\ufffdb\ufffdc\ufffd\t\n\r" }]);
});
