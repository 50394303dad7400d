// etcd://host:2379,host:2379,...[/PREFIX]: which cluster, and under which prefix what is stored there is.
import { StoreError } from "../errors.ts";

export interface EtcdUrl {
  /** HOST:PORT */
  readonly endpoints: readonly string[];
  readonly tls: boolean;
  readonly prefix: string;
}

const PREFIX = "axion";
const MOST = 16;
const ENDPOINT = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::(\d{1,5}))?$/;

/** What is wrong with a URL is said of the URL. @throws StoreError INVALID */
export function parseEtcdUrl(url: string): EtcdUrl {
  const [, scheme, hosts, path] = /^(etcds?):\/\/([^/]*)(?:\/(.*))?$/.exec(url) ?? [];
  const wrong = (why: string): StoreError => new StoreError("INVALID", `${url.replace(/\/\/[^@/]*@/, "//...@")}: ${why}; etcd://HOST:2379,HOST:2379 is expected, with /PREFIX after it if several stores share one etcd`);
  if (scheme === undefined || hosts === undefined) throw wrong("no etcd is named");
  if (hosts.includes("@")) throw wrong("no user is in the URL: --store-user and --store-password-file say who");
  const endpoints = hosts.split(",").map((host) => host.trim());
  if (endpoints.length > MOST) throw wrong(`${endpoints.length} endpoints, at most ${MOST} are possible`);
  for (const endpoint of endpoints) {
    const match = ENDPOINT.exec(endpoint);
    if (match === null || Number(match[1] ?? 1) > 65_535 || Number(match[1] ?? 1) === 0) throw wrong(`${endpoint === "" ? "an empty name" : JSON.stringify(endpoint)} is no HOST:PORT`);
  }
  const prefix = path === undefined || path === "" ? PREFIX : path;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(\/[A-Za-z0-9][A-Za-z0-9._-]{0,63}){0,3}$/.test(prefix)) throw wrong(`the prefix ${JSON.stringify(prefix)} is not letters, digits, dots, dashes and underscores`);
  return { endpoints: [...new Set(endpoints.map((endpoint) => (/:\d+$/.test(endpoint) && !/^\[[^\]]*$/.test(endpoint) ? endpoint : `${endpoint}:2379`)))], tls: scheme === "etcds", prefix };
}
