// Content-Encoding (RFC 9110, 8.4): bodies that come in gzip, and large answers that go out in it. zlib works in Node's thread pool.
import { pipeline, type Readable } from "node:stream";
import { constants, createGzip, gunzip } from "node:zlib";
import { ApiError, badRequest } from "../../app/contract.ts";

/** Characters of an answer below which its compression costs more than it saves. */
export const COMPRESSED_FROM = 16 * 1024;

/** Most of the gain for the least time: lists are repetitive. */
const LEVEL = constants.Z_BEST_SPEED;

/** Whether Accept-Encoding takes gzip: by its name, or by `*` where it is not named. */
export function acceptsGzip(header: string | undefined): boolean {
  if (header === undefined) return false;
  let any = false;
  for (const part of header.split(",", 32)) {
    const [coding = "", ...parameters] = part.split(";").map((p) => p.trim().toLowerCase());
    const weight = parameters.find((p) => p.startsWith("q="));
    const wanted = weight === undefined || Number(weight.slice(2)) > 0;
    if (coding === "gzip" || coding === "x-gzip") return wanted;
    if (coding === "*") any = wanted;
  }
  return any;
}

/**
 * A request's body without its Content-Encoding, at most `limit` bytes; inflating ends there. `done` gets ApiError 413 if it is longer,
 * 415 of another coding than gzip, 400 if it is no gzip.
 */
export function decoded(encoding: string | undefined, body: Buffer, limit: number, done: (error: Error | null, body?: Buffer) => void): void {
  const coding = (encoding ?? "").trim().toLowerCase();
  if (coding === "" || coding === "identity") done(null, body);
  else if (coding !== "gzip" && coding !== "x-gzip") done(new ApiError(415, "HTTPUnsupportedMediaType", "Content-Encoding must be gzip or identity"));
  else {
    gunzip(body, { maxOutputLength: limit }, (error, inflated) => {
      if (error === null) done(null, inflated);
      else if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") done(new ApiError(413, "HTTPRequestEntityTooLarge", `The body is longer than ${limit} bytes when it is inflated`));
      else done(badRequest("The body is not the gzip that Content-Encoding says"));
    });
  }
}

/** `source` in gzip. An end of one, for whatever reason, ends the other. */
export function compressed(source: Readable): Readable {
  // The reader's end sees the error too.
  return pipeline(source, createGzip({ level: LEVEL }), () => undefined);
}
