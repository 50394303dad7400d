// An answer whose parts are good only until the next is asked for: each is with the kernel before that.
import type { ServerResponse } from "node:http";

/** Sends parts until there are no more, or until nobody reads them; what goes wrong is told. */
export async function sendAll(response: ServerResponse, contentType: string, parts: AsyncIterable<Uint8Array>, onError: (error: Error) => void): Promise<void> {
  let gone: Error | undefined;
  // Of the part that is being written. One promise for all of them would keep something of each.
  let give: (error: Error) => void = () => undefined;
  const stop = (error: Error): void => {
    gone ??= error;
    give(gone);
  };
  const closed = (): void => stop(new Error("the client went away"));
  const written = (part: Uint8Array): Promise<void> =>
    new Promise((done, failed) => {
      give = failed;
      if (gone !== undefined) failed(gone);
      else response.write(part, (error) => (error == null ? done() : failed(error)));
    });
  response.on("close", closed);
  response.on("error", stop);
  try {
    response.writeHead(200, { "content-type": contentType });
    if (response.req.method === "HEAD") await parts[Symbol.asyncIterator]().return?.();
    else for await (const part of parts) await written(part);
    response.end();
  } catch (error) {
    onError(error as Error);
    response.destroy();
  } finally {
    response.off("close", closed);
  }
}
