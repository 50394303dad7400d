// A client of v1 as there were: it appends the format to each path, and takes any answer below 300 as success.
export type Format = "json" | "xml";
export interface V1Answer {
  readonly status: number;
  readonly text: string;
  readonly type: string;
  /** XML in the form of JSON; `any`, as of JSON.parse: what has to be in it the assertions say. */
  readonly body: any;
}
export type Send = (method: string, path: string, body: string | undefined, headers: Record<string, string>) => Promise<{ readonly status: number; readonly text: string; readonly type: string }>;

/** What this API writes as XML, as an object: attributes and elements are keys, elements in a plural are a list. Reads no other XML. */
export function fromXml(text: string): any {
  const tokens = [...text.matchAll(/<(\/?)([\w-]+)((?: [\w:-]+="[^"]*")*)(\/?)>|([^<]+)/g)];
  if (tokens.map((t) => t[0]).join("") !== text) throw new Error(`not the XML that is expected: ${text}`);
  const plain = (s: string): string => s.replace(/&#(\d+);/g, (_, n: string) => String.fromCharCode(Number(n)));
  const root: Record<string, any> = {};
  const open: { name: string; value: any }[] = [{ name: "", value: root }];
  const put = (name: string, value: unknown): void => {
    const at = open.at(-1)!;
    if (Array.isArray(at.value)) at.value.push(value);
    else at.value[name] = value;
  };
  const close = (name: string, value: unknown): void => put(name, typeof value === "object" && !Array.isArray(value) && Object.keys(value!).join() === "#" ? (value as Record<string, unknown>)["#"] : value);
  for (const [, end, name = "", attributes = "", empty, words] of tokens) {
    if (words !== undefined) open.at(-1)!.value["#"] = plain(words);
    else if (end === "/") {
      const { name: ended, value } = open.pop()!;
      close(ended, value);
    } else {
      const value: any = /s$/.test(name) ? [] : Object.fromEntries([...attributes.matchAll(/ ([\w:-]+)="([^"]*)"/g)].filter((a) => a[1] !== "xmlns").map((a) => [a[1], plain(a[2]!)]));
      if (empty === "/") close(name, value);
      else open.push({ name, value });
    }
  }
  return root;
}

export class V1Client {
  readonly format: Format;
  private readonly send: Send;
  private readonly base: string;
  private readonly headers: Record<string, string>;

  constructor(send: Send, version: "v1.0" | "v1.1", tenant: string, format: Format, headers: Record<string, string> = {}) {
    this.send = send;
    this.base = `/${version}/tenants/${tenant}`;
    this.format = format;
    this.headers = headers;
  }

  /** `body`: of one resource, `{ network: { name } }`; in XML fields are child elements, as the stock client sent them. */
  async call(method: string, path: string, body?: Record<string, Record<string, string>>): Promise<V1Answer> {
    const [resource, query] = path.split("?") as [string, string?];
    const payload = body === undefined ? undefined : this.format === "json" ? JSON.stringify(body)
      : Object.entries(body).map(([name, fields]) => `<${name}>${Object.entries(fields).map(([k, v]) => `<${k}>${v}</${k}>`).join("")}</${name}>`).join("");
    const answer = await this.send(method, `${this.base}${resource}.${this.format}${query === undefined ? "" : `?${query}`}`, payload, { ...(payload === undefined ? {} : { "content-type": `application/${this.format}` }), ...this.headers });
    const parsed: unknown = answer.text === "" || answer.type.startsWith("text/") ? undefined : this.format === "json" ? JSON.parse(answer.text) : fromXml(answer.text);
    return { ...answer, body: parsed };
  }

  async ok(method: string, path: string, body?: Record<string, Record<string, string>>): Promise<any> {
    const answer = await this.call(method, path, body);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return answer.body;
  }

  async network(name: string): Promise<string> {
    return (await this.ok("POST", "/networks", { network: { name } })).network.id as string;
  }
  async port(network: string, state?: string): Promise<string> {
    return (await this.ok("POST", `/networks/${network}/ports`, state === undefined ? undefined : { port: { state } })).port.id as string;
  }
  attach = (network: string, port: string, id: string): Promise<V1Answer> => this.call("PUT", `/networks/${network}/ports/${port}/attachment`, { attachment: { id } });
  detach = (network: string, port: string): Promise<V1Answer> => this.call("DELETE", `/networks/${network}/ports/${port}/attachment`);
}
