// What an operator gives machines where there is no Nova: the file of --metadata-file, JSON. What is said of a machine's port, or of its device, comes before what is
// said of its project, and that before what is said of all; keys are those of all of these.

/** Of machines. */
export interface Given {
  readonly user_data?: string;
  /** Lines as in authorized_keys. */
  readonly public_keys?: readonly string[];
  /** Default: the port's name. */
  readonly hostname?: string;
  /** `meta` of OpenStack's meta_data.json. */
  readonly meta?: Readonly<Record<string, string>>;
}
export interface GivenFile extends Given {
  /** By project. */
  readonly projects?: Readonly<Record<string, Given & {
    /** By `device_id` of ports of the project. */
    readonly devices?: Readonly<Record<string, Given>>;
  }>>;
  /** By id of ports. */
  readonly ports?: Readonly<Record<string, Given>>;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === "object" && value !== null && !Array.isArray(value);
const HOSTNAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i;

const forms: Readonly<Record<keyof Given, (value: unknown) => string | undefined>> = {
  user_data: (v) => (typeof v === "string" ? undefined : "a string"),
  public_keys: (v) => (Array.isArray(v) && v.every((k) => typeof k === "string" && /^\S+ \S+/.test(k) && !k.includes("\n")) ? undefined : "a list of keys as in authorized_keys, each one line"),
  hostname: (v) => (typeof v === "string" && HOSTNAME.test(v) ? undefined : "a name of a host"),
  meta: (v) => (isObject(v) && Object.values(v).every((text) => typeof text === "string") ? undefined : "an object of strings"),
};

function faultsOf(value: unknown, where: string, below: Readonly<Record<string, (value: unknown, where: string) => string | undefined>>): string | undefined {
  if (!isObject(value)) return `${where} must be an object`;
  for (const [key, one] of Object.entries(value)) {
    const at = where === "its content" ? key : `${where}.${key}`;
    if (key in below) {
      if (!isObject(one)) return `${at} must be an object`;
      for (const [id, inner] of Object.entries(one)) {
        const fault = below[key]!(inner, `${at}.${id}`);
        if (fault !== undefined) return fault;
      }
    } else {
      const wanted = key in forms ? forms[key as keyof Given](one) : "one of user_data, public_keys, hostname, meta, projects, ports";
      if (wanted !== undefined) return key in forms ? `${at} must be ${wanted}` : `${at} is unknown: it must be ${wanted}`;
    }
  }
  return undefined;
}

/** What is wrong with such a file, as it goes on after the setting's name; undefined: nothing. */
export function faultOf(text: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `is of a file that is not JSON: ${(error as Error).message}`;
  }
  const machine = (one: unknown, where: string): string | undefined => faultsOf(one, where, {});
  const fault = faultsOf(value, "its content", { ports: machine, projects: (one, where) => faultsOf(one, where, { devices: machine }) });
  return fault === undefined ? undefined : `is of a file in which ${fault}`;
}

/** What is given to a machine. */
export function givenTo(file: GivenFile, port: { readonly id: string; readonly project_id: string; readonly device_id: string }): Given {
  const own = <V>(of: Readonly<Record<string, V>> | undefined, key: string): V | undefined => (of !== undefined && Object.hasOwn(of, key) ? of[key] : undefined);
  const project = own(file.projects, port.project_id);
  const all = [file, project, own(project?.devices, port.device_id), own(file.ports, port.id)].filter((g) => g !== undefined);
  const last = <K extends keyof Given>(key: K): Pick<Given, K> => {
    const found = all.findLast((g) => g[key] !== undefined);
    return found === undefined ? {} as Pick<Given, K> : { [key]: found[key] } as Pick<Given, K>;
  };
  return { ...last("user_data"), ...last("hostname"), public_keys: [...new Set(all.flatMap((g) => g.public_keys ?? []))], meta: Object.assign({}, ...all.map((g) => g.meta ?? {})) as Record<string, string> };
}
