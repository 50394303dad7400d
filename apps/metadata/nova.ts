// Answers of Nova's metadata API: it is told which machine asks, signed with the secret that it shares. Neutron's metadata agent speaks to it likewise.
// https://docs.openstack.org/nova/latest/admin/metadata-service.html
import { FetchError, hmacSha256, type FetchAnswer, type HttpAnswer, type HttpRequest, type LiveView, type ServiceHost } from "#app";
import { addressesOf, type Port } from "../l2/model.ts";
import { metadataSettings, notFound } from "./model.ts";

/** Until the whole answer is there. */
const TIMEOUT_MS = 15_000;
/** Of an answer: user data of a megabyte in base64, and more. */
const ANSWER_MAX = 4 << 20;
/** Requests of a project that wait for Nova. */
const PER_PROJECT = 32;
const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT"]);
/** What a machine is told as Nova says it; anything else is a fault between us and Nova, and none of its. */
const PASSED: ReadonlySet<number> = new Set([200, 400, 403, 404, 409, 502, 503, 504]);

const refusal = (status: number, text: string): HttpAnswer => ({ status, body: `${status} ${text}\n` });

export class NovaMetadata {
  private readonly host: ServiceHost;
  private readonly url: string;
  private readonly secret: Buffer;
  private readonly waiting = new Map<string, number>();
  /** Told why there is no answer. */
  private readonly failed: (why: string) => void;

  constructor(host: ServiceHost, url: string, failed: (why: string) => void) {
    this.host = host;
    this.url = url.replace(/\/+$/, "");
    this.secret = Buffer.from(host.view.settings(metadataSettings)["metadata-secret-file"]?.toString().trim() ?? "");
    this.failed = failed;
  }

  async answer(port: Port, address: string, { method, url, headers, body }: HttpRequest): Promise<HttpAnswer> {
    if (!METHODS.has(method)) return refusal(405, "Method Not Allowed");
    const target = this.targetOf(url);
    if (target === undefined) return refusal(400, "Bad Request");
    if (port.device_id === "") return notFound;
    const waiting = this.waiting.get(port.project_id) ?? 0;
    if (waiting >= PER_PROJECT) return refusal(503, "Service Unavailable: too many requests wait");
    this.waiting.set(port.project_id, waiting + 1);
    try {
      return said(await this.host.fetch(target, {
        method, timeoutMs: TIMEOUT_MS, limitBytes: ANSWER_MAX, ...(body.length > 0 && { body }),
        headers: {
          "x-instance-id": port.device_id, "x-instance-id-signature": hmacSha256(this.secret, port.device_id), "x-tenant-id": port.project_id,
          "x-forwarded-for": addressOf(this.host.view, port, address), ...(body.length > 0 && { "content-type": headers["content-type"] ?? "application/octet-stream" }),
        },
      }));
    } catch (error) {
      if (!(error instanceof FetchError)) throw error;
      if (error.code === "STOPPED") return refusal(503, "Service Unavailable");
      this.failed(error.message);
      return error.code === "TIMEOUT" ? refusal(504, "Gateway Timeout") : error.code === "TOO_LARGE" ? refusal(502, "Bad Gateway") : refusal(503, "Service Unavailable");
    } finally {
      const left = this.waiting.get(port.project_id)! - 1;
      if (left > 0) this.waiting.set(port.project_id, left);
      else this.waiting.delete(port.project_id);
    }
  }

  /** Below Nova's URL, wherever a machine would like to go. */
  private targetOf(path: string): string | undefined {
    if (!path.startsWith("/")) return undefined;
    const text = `${this.url}${path}`;
    if (!URL.canParse(text)) return undefined;
    const [base, target] = [new URL(this.url), new URL(text)];
    const below = base.pathname === "/" ? "/" : `${base.pathname}/`;
    return target.origin === base.origin && target.pathname.startsWith(below) ? target.href : undefined;
  }
}

/** An address that is the port's, whatever it says itself. */
function addressOf(view: LiveView, port: Port, claimed: string): string {
  const own = addressesOf(view, port.id).map((a) => a.ip);
  return own.includes(claimed) ? claimed : own[0] ?? claimed;
}

function said({ status, headers, body }: FetchAnswer): HttpAnswer {
  if (!PASSED.has(status)) return refusal(500, "Internal Server Error: the metadata API has failed");
  return { status, headers: { "content-type": headers["content-type"] ?? "text/plain; charset=UTF-8" }, body };
}
