// The ops API as the commands call it: requests over HTTP, and what each failure is for the person at the terminal.
import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import { UsageError } from "../lib/usage-error.ts";

export type OpsErrorCode =
  | "UNREACHABLE" // nothing answers at the address, or it stopped in the middle
  | "NOT_A_CONTROLLER" // something answers, but not as the ops API does
  | "NOT_THERE" // 404
  | "REFUSED"; // any other status that is no success

/** A call of the ops API that came to nothing; the command ends with exit code 1. */
export class OpsError extends Error {
  override readonly name = "OpsError";
  readonly code: OpsErrorCode;

  constructor(code: OpsErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

export type Query = Readonly<Record<string, string | undefined>>;

export interface Answer {
  readonly status: number;
  readonly body: unknown;
  /** What an answer that was cut says of it: where the next one ends. */
  readonly moreUntil?: string | undefined;
  /** What an answer with nothing in it says of that. */
  readonly whyEmpty?: string | undefined;
  /** Of a call of the API: the generation that it made. */
  readonly generation?: string | undefined;
}
const NO_CONTENT = 204;

/** Of an answer that is read as a whole. */
const BODY_LIMIT = 64 << 20;
const IDLE_MS = 60_000;

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused", ENOTFOUND: "no such host", EAI_AGAIN: "the host's name cannot be resolved now", ECONNRESET: "the connection was reset",
  EHOSTUNREACH: "no way to the host", ENETUNREACH: "no way to its network", ETIMEDOUT: "no answer", EPROTO: "it does not speak TLS",
};

export class OpsApi {
  readonly url: string;
  private readonly base: URL;
  private readonly token: string | undefined;
  private readonly idleMs: number;

  /**
   * `where` is the flag or variable that gave the address; `token`: what the controller's --ops-token-file has; `idleMs`: after so long without a word it is
   * taken not to answer. @throws UsageError
   */
  constructor(url: string, where: string, token?: string, idleMs = IDLE_MS) {
    this.idleMs = idleMs;
    const base = URL.canParse(url) ? new URL(url) : undefined;
    if (base === undefined || !["http:", "https:"].includes(base.protocol) || base.hostname === "") throw new UsageError(`${where} must be a URL such as http://127.0.0.1:9697, not ${url === "" ? "empty" : url}`);
    if (base.search !== "" || base.hash !== "") throw new UsageError(`${where} must be a URL without ? and #, not ${url}`);
    this.base = base;
    this.token = token;
    this.url = url.replace(/\/+$/, "");
  }

  /** A request, with JSON in it if `body` is given, whatever the answer's status. The answer's body is not read yet. @throws OpsError */
  private ask(path: string, query: Query, method: "GET" | "POST" = "GET", body?: unknown, idleMs = this.idleMs): Promise<IncomingMessage> {
    const target = new URL(this.base);
    target.pathname = target.pathname.replace(/\/+$/, "") + path;
    for (const [name, value] of Object.entries(query)) if (value !== undefined) target.searchParams.set(name, value);
    const text = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    return new Promise((resolve, reject) => {
      const request = (target.protocol === "https:" ? https : http).request(target, { method, agent: false, headers: { accept: "application/json, text/plain", ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }), ...(text === undefined ? {} : { "content-type": "application/json", "content-length": text.length }) } }, resolve).end(text);
      request.setTimeout(idleMs, () => request.destroy(Object.assign(new Error("no answer"), { code: "ETIMEDOUT" })));
      request.on("error", (error: NodeJS.ErrnoException) => {
        // Several addresses of one name are several errors
        const code = error.code ?? (error as unknown as { errors?: NodeJS.ErrnoException[] }).errors?.[0]?.code ?? "";
        if (code.startsWith("HPE_")) reject(new OpsError("NOT_A_CONTROLLER", `what answers at ${this.url} is no controller: it does not speak HTTP`, error));
        else reject(new OpsError("UNREACHABLE", `no controller answers at ${this.url}: ${reasons[code] ?? error.message}; is it running? --ops-url or AXION_OPS_URL names another`, error));
      });
    });
  }

  /** A GET whose answer is JSON; statuses that are not 2xx are an answer only if `allow` has them. @throws OpsError, UsageError for a query that the controller cannot read */
  async get(path: string, query: Query = {}, allow: readonly number[] = []): Promise<Answer> {
    return this.json("GET", path, query, allow);
  }

  /** A POST whose answer is JSON. @throws OpsError, UsageError for a query or body that the controller cannot read */
  async post(path: string, query: Query = {}, body?: unknown): Promise<Answer> {
    return this.json("POST", path, query, [], body);
  }

  private async json(method: "GET" | "POST", path: string, query: Query, allow: readonly number[], body?: unknown): Promise<Answer> {
    const response = await this.ask(path, query, method, body);
    const status = response.statusCode ?? 0;
    if (!isSuccess(status) && !allow.includes(status)) throw await this.refusal(response, `${method} ${path}`);
    const text = await this.text(response);
    try {
      const [moreUntil, whyEmpty, generation] = ["x-axion-more-until", "x-axion-why-empty", "x-axion-generation"].map((name) => response.headers[name]?.toString());
      return { status, body: status === NO_CONTENT ? null : JSON.parse(text), moreUntil, whyEmpty, generation };
    } catch (error) {
      throw new OpsError("NOT_A_CONTROLLER", `what answers at ${this.url} is no controller: ${method} ${path} is not JSON`, error);
    }
  }

  /** A GET whose answer comes in pieces, of any size. `waitMs`: that nothing comes so long is no fault. @throws OpsError, UsageError for a query that the controller cannot read */
  async *stream(path: string, query: Query = {}, waitMs = 0): AsyncGenerator<Buffer> {
    const response = await this.ask(path, query, "GET", undefined, this.idleMs + waitMs);
    if (!isSuccess(response.statusCode ?? 0)) throw await this.refusal(response, `GET ${path}`);
    try {
      for await (const chunk of response) yield chunk as Buffer;
    } catch (error) {
      throw new OpsError("UNREACHABLE", `the controller at ${this.url} stopped in the middle of its answer`, error);
    }
  }

  /** A GET whose answer is text. @throws OpsError */
  async readText(path: string, query: Query = {}): Promise<string> {
    const response = await this.ask(path, query);
    if (!isSuccess(response.statusCode ?? 0)) throw await this.refusal(response, `GET ${path}`);
    return this.text(response);
  }

  private async text(response: IncomingMessage): Promise<string> {
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        length += chunk.length;
        if (length > BODY_LIMIT) throw new OpsError("NOT_A_CONTROLLER", `the answer of ${this.url} is larger than ${BODY_LIMIT} bytes`);
        chunks.push(chunk);
      }
    } catch (error) {
      if (error instanceof OpsError) throw error;
      throw new OpsError("UNREACHABLE", `the controller at ${this.url} stopped in the middle of its answer`, error);
    }
    return Buffer.concat(chunks).toString("utf8");
  }

  private async refusal(response: IncomingMessage, asked: string): Promise<Error> {
    const status = response.statusCode ?? 0;
    const text = await this.text(response);
    let error: { readonly code?: unknown; readonly message?: unknown } | undefined;
    try {
      error = (JSON.parse(text) as { error?: { code?: unknown; message?: unknown } } | null)?.error;
    } catch {
      // said below
    }
    if (typeof error?.message !== "string") return new OpsError("NOT_A_CONTROLLER", `what answers at ${this.url} is no controller: ${asked} gave status ${status}`);
    const asTyped = error.message.replace(/^query parameter ([\w-]+): /, "--$1: ");
    if (status === 404) return new OpsError("NOT_THERE", asTyped);
    if (status === 401) return new OpsError("REFUSED", `the controller at ${this.url} wants its token: give --ops-token-file, or AXION_OPS_TOKEN_FILE, with the file that the controller has`);
    if (status === 400) return new UsageError(asTyped);
    return new OpsError("REFUSED", `the controller refuses it (${status}): ${error.message}`);
  }
}

const isSuccess = (status: number): boolean => status >= 200 && status < 300;
