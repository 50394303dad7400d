// Talking to the ops listener. Its token, where it wants one, lasts as long as the tab: sessionStorage, which no other tab or later visit reads.

const TOKEN = "axion-ops-token";

/** `wanted`: the listener refused for want of a token, so the page asks for one. `tried`: one was given since. `held`: there is one. */
export const session = $state({ wanted: false, tried: false, held: sessionStorage.getItem(TOKEN) !== null, reload: 0 });

export function useToken(token: string): void {
  sessionStorage.setItem(TOKEN, token);
  session.tried = true;
  session.held = true;
  session.wanted = false;
  session.reload++;
}
/** For effects: they are run again when there is another token. */
export const reloads = (): number => session.reload;

export function forgetToken(): void {
  sessionStorage.removeItem(TOKEN);
  session.tried = false;
  session.held = false;
  session.reload++;
}

/** What the listener said, and with which status; 0: it was not reached. */
export class OpsError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.name = "OpsError";
    this.status = status;
  }
}

export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...(init.body === undefined ? {} : { "content-type": "application/json" }), ...(token === null ? {} : { authorization: `Bearer ${token}` }) };
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    if (init.signal?.aborted === true) throw error;
    throw new OpsError(0, "the controller does not answer");
  }
  if (response.ok) return response;
  if (response.status === 401) session.wanted = true;
  let message = `${response.status} ${response.statusText}`;
  try {
    message = ((await response.json()) as { error: { message: string } }).error.message;
  } catch {
    // No answer of the listener's own: the status says what there is to say.
  }
  throw new OpsError(response.status, message);
}

export const get = async <T>(path: string, signal?: AbortSignal): Promise<T> => (await (await ask(path, signal === undefined ? {} : { signal })).json()) as T;

/** The answer to what is changed, or asked with a body. */
export const post = async <T>(path: string, body: unknown): Promise<T> => (await (await ask(path, { method: "POST", body: JSON.stringify(body) })).json()) as T;

/** `?a=1&b=2` of what is not empty. */
export function search(parts: Readonly<Record<string, string | undefined>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parts)) if (value !== undefined && value !== "") query.set(name, value);
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}

/** Server-sent events of a path from now on: by fetch, as EventSource bears no token. End when the signal says so, or the connection does. */
export async function events(path: string, signal: AbortSignal): Promise<AsyncGenerator<string>> {
  return eventsIn((await ask(path, { signal })).body!);
}

async function* eventsIn(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let buffer = "";
  for await (const chunk of readable(body)) {
    buffer += decoder.decode(chunk, { stream: true });
    for (let end = buffer.indexOf("\n\n"); end >= 0; end = buffer.indexOf("\n\n")) {
      const data = buffer.slice(0, end).split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      buffer = buffer.slice(end + 2);
      if (data !== "") yield data;
    }
  }
}

async function* readable(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** The first items of `{"<name>":[...]}` as they come, at most so many; then nothing more is read. True: there were more. */
export async function some<T>(path: string, most: number, signal: AbortSignal, take: (items: T[]) => void): Promise<boolean> {
  const { body } = await ask(path, { signal });
  const decoder = new TextDecoder();
  let buffer = "";
  let begun = false;
  let taken = 0;
  // Where the item that is being read began, how deep in it we are, and whether in a text.
  let from = 0;
  let at = 0;
  let depth = 0;
  let text = false;
  for await (const chunk of readable(body!)) {
    buffer += decoder.decode(chunk, { stream: true });
    if (!begun) {
      const open = buffer.indexOf("[");
      if (open < 0) continue;
      begun = true;
      buffer = buffer.slice(open + 1);
    }
    const items: T[] = [];
    for (; at < buffer.length; at++) {
      const c = buffer[at];
      if (text) {
        if (c === "\\") at++;
        else if (c === '"') text = false;
      } else if (c === '"') text = true;
      else if (c === "{" || c === "[") {
        if (depth++ === 0) from = at;
      } else if ((c === "}" || c === "]") && --depth === 0) {
        items.push(JSON.parse(buffer.slice(from, at + 1)) as T);
        if (taken + items.length > most) break;
      }
    }
    const over = taken + items.length > most;
    if (over) items.length = most - taken;
    taken += items.length;
    if (items.length > 0) take(items);
    if (over) return true;
    const keep = depth > 0 ? from : Math.min(at, buffer.length);
    buffer = buffer.slice(keep);
    at -= keep;
    from = 0;
  }
  return false;
}
