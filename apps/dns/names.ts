// What a name of DNS may be where the API takes one. RFC 1123 section 2.1, RFC 1035 section 3.1
import { invalidFor, makeCheck, type Convert, type Converter } from "#app";

/** Without the dot at the end: 255 bytes with the lengths of its labels. RFC 1035 section 2.3.4 */
export const NAME_MAX = 253;
const TEXT_MAX = 255;
const LABEL = /^[a-z0-9-]{1,63}$/i;
const form = { type: "string", max: TEXT_MAX } as const;
const asText = makeCheck(form);

/** Why a text is no name; undefined: it is one. */
function faultOf(text: string): string | undefined {
  const trimmed = text.endsWith(".") ? text.slice(0, -1) : text;
  if (trimmed.length > NAME_MAX) return `'${trimmed}' exceeds the ${NAME_MAX} character FQDN limit`;
  const labels = trimmed.split(".");
  for (const label of labels) {
    if (label === "") return "Encountered an empty component";
    if (label.startsWith("-") || label.endsWith("-")) return `Name '${label}' must not start or end with a hyphen`;
    if (!LABEL.test(label)) return `Name '${label}' must be 1-63 characters long, each of which can only be alphanumeric or a hyphen`;
  }
  if (labels.length > 1 && /^\d+$/.test(labels.at(-1)!)) return `TLD '${labels.at(-1)!}' must not be all numeric`;
  return undefined;
}

const name = (value: unknown, attribute: string): string => {
  const text = asText(value, attribute) as string;
  const fault = text === "" ? undefined : faultOf(text);
  if (fault !== undefined) throw invalidFor(attribute, `'${text}' not a valid PQDN or FQDN. Reason: ${fault}`);
  return text.toLowerCase();
};

const hostName: Convert = name;
const domainName: Convert = (value, attribute) => {
  const text = name(value, attribute);
  if (text !== "" && !text.endsWith(".")) throw invalidFor(attribute, `'${text}' is not a FQDN`);
  return text;
};

export const converters: Readonly<Record<string, Converter>> = {
  "dns-host-name": { about: "a name of DNS of labels of letters, digits and hyphens, kept in lower case; empty: none", form, run: hostName },
  "dns-domain-name": { about: "a domain of DNS that ends with a dot, kept in lower case; empty: none", form, run: domainName },
};
