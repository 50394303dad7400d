// Which switches have confirmed what, and how long that took.
import type { GenerationReceipt } from "../southbound/receipt-log.ts";
import { BadQuery, queryOf, type OpsServer } from "./server.ts";

/** See src/southbound/receipt-log.ts. */
export interface ReceiptsShown {
  list(limit: number): readonly GenerationReceipt[];
  one(generation: number): GenerationReceipt | undefined;
  readonly range: { readonly oldest: number; readonly newest: number } | undefined;
}

const LISTED = 20;
const MOST = 1000;

/** Adds `GET /receipts` and `/receipts/{generation}`. */
export function receiptRoutes(server: OpsServer, receipts: ReceiptsShown): void {
  const failure = (code: string, message: string): { error: { code: string; message: string } } => ({ error: { code, message } });

  server.get("/receipts", (request) => {
    const limit = queryOf(request.url, ["limit"]).get("limit") ?? String(LISTED);
    if (!/^\d{1,6}$/.test(limit) || Number(limit) < 1 || Number(limit) > MOST) throw new BadQuery("limit", `must be 1 to ${MOST}, not '${limit.slice(0, 64)}'`);
    return receipts.list(Number(limit));
  });

  server.get<{ Params: { generation: string } }>("/receipts/:generation", (request, reply) => {
    const { generation } = request.params;
    queryOf(request.url, []);
    if (!/^\d{1,15}$/.test(generation)) return reply.code(400).send(failure("BAD_REQUEST", `'${generation.slice(0, 64)}' is no generation`));
    const found = receipts.one(Number(generation));
    if (found !== undefined) return reply.send(found);
    const { range } = receipts;
    return reply.code(404).send(failure("NOT_FOUND", `there is no receipt of generation ${generation}: ${range === undefined ? "nothing was committed since the start" : `those of ${range.oldest} to ${range.newest} are kept`}`));
  });
}
