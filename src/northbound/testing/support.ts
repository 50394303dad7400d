// The API layer on a memory store, with the apps of declarations.ts.
import { pino } from "pino";
import type { App } from "../../app/contract.ts";
import { Model, type WaitingLimits } from "../../model/model.ts";
import { createNorthbound, type Limits, type Northbound, type NorthboundOptions } from "../index.ts";
import type { KvStore } from "../../store/kv.ts";
import { openStore } from "../../store/open.ts";

export * from "../../app/contract.ts";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, any>>;
  readonly text: string;
  readonly body: any;
}

export type Headers = Readonly<Record<string, string>>;
export const as = (project: string, roles = "member"): Headers => ({ "x-project-id": project, "x-roles": roles });

export class Api {
  readonly model: Model;
  readonly nb: Northbound;

  private constructor(model: Model, nb: Northbound) {
    this.model = model;
    this.nb = nb;
  }

  static async make(
    apps: readonly App[], limits: Limits = {}, wrap: (store: KvStore) => KvStore = (store) => store, waiting?: WaitingLimits, more: Partial<NorthboundOptions> = {},
  ): Promise<Api> {
    const tables = apps.flatMap((a) => a.tables ?? []);
    const model = await Model.open(wrap(await openStore("memory:", { dataDir: "" })), tables, waiting === undefined ? {} : { limits: waiting });
    return new Api(model, createNorthbound({ apps, model, auth: "none", log: pino({ level: "silent" }), limits, ...more }));
  }

  /** `body`: JSON value, or raw text when a string. */
  async call(method: string, url: string, body?: unknown, headers: Headers = {}): Promise<Answer> {
    const payload = body === undefined ? undefined : typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const answer = await this.nb.inject({ method: method as "GET", url, headers: { ...(payload === undefined ? {} : { "content-type": "application/json" }), ...headers }, ...(payload === undefined ? {} : { payload }) });
    let parsed: unknown;
    try {
      parsed = JSON.parse(answer.payload);
    } catch {
      parsed = undefined;
    }
    return { status: answer.statusCode, headers: answer.headers, text: answer.payload, body: parsed };
  }

  get = (url: string, headers?: Headers): Promise<Answer> => this.call("GET", url, undefined, headers);
  post = (url: string, body: unknown, headers?: Headers): Promise<Answer> => this.call("POST", url, body, headers);
  put = (url: string, body: unknown, headers?: Headers): Promise<Answer> => this.call("PUT", url, body, headers);
  delete = (url: string, headers?: Headers): Promise<Answer> => this.call("DELETE", url, undefined, headers);

  async make(name: string, path: string, values: Record<string, unknown>, headers?: Headers): Promise<any> {
    const answer = await this.post(`/v2.0/${path}`, { [name]: values }, headers);
    if (answer.status !== 201) throw new Error(`${answer.status} ${answer.text}`);
    return (answer.body as Record<string, unknown>)[name];
  }
  bed = (values: Record<string, unknown> = {}, headers?: Headers): ReturnType<Api["make"]> => this.make("bed", "garden-beds", values, headers);
  plant = (values: Record<string, unknown>, headers?: Headers): ReturnType<Api["make"]> => this.make("plant", "plants", values, headers);

  async close(): Promise<void> {
    await this.nb.close();
    await this.model.close();
  }
}
