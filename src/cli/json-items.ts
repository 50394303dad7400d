// The items of a list in a JSON answer, one by one as they arrive: a flow dump may be larger than any string.
import { StringDecoder } from "node:string_decoder";

const ITEM_LIMIT = 16 << 20;

/** Objects of the list in `{"name":[{...},...]}`. @throws Error when the text is something else, or ends early */
export async function* jsonItems(chunks: AsyncIterable<Buffer>): AsyncGenerator<Record<string, unknown>> {
  const decoder = new StringDecoder("utf8");
  let item = "";
  let depth = 0;
  let inString = false;
  let escaped = false;
  let seen = false;
  for await (const chunk of chunks) {
    const text = decoder.write(chunk);
    let start = 0;
    for (let i = 0; i < text.length; i++) {
      const c = text[i]!;
      if (inString) {
        if (escaped) escaped = false;
        else if (c === "\\") escaped = true;
        else if (c === '"') inString = false;
      } else if (c === '"') inString = true;
      else if (c === "{" || c === "[") {
        if (c !== "{[{"[depth] && depth < 3) throw new Error("the answer is not an object with a list of objects");
        if (++depth === 3) start = i;
        seen = true;
      } else if (c === "}" || c === "]") {
        if (--depth !== 2) continue;
        yield JSON.parse(item + text.slice(start, i + 1)) as Record<string, unknown>;
        item = "";
      }
    }
    if (depth >= 3) item += text.slice(start);
    if (item.length > ITEM_LIMIT) throw new Error(`an item of the answer is larger than ${ITEM_LIMIT} characters`);
  }
  if (!seen || depth !== 0) throw new Error("the answer ends early");
}
