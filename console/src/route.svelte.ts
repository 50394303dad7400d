// Where one is: the fragment of the address, `#/flows?switch=hv1`. It never reaches the server.

export interface Route {
  readonly view: string;
  readonly query: Readonly<Record<string, string>>;
}

function read(): Route {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return { view: path === "" ? "problems" : path, query: Object.fromEntries(new URLSearchParams(query)) };
}

let now = $state.raw<Route>(read());
addEventListener("hashchange", () => (now = read()));

export const route = {
  get now(): Route {
    return now;
  },
};

/** Address of a view. */
export function to(view: string, query: Readonly<Record<string, string | undefined>> = {}): string {
  const text = new URLSearchParams(Object.entries(query).flatMap(([name, value]) => (value === undefined || value === "" ? [] : [[name, value]]))).toString();
  return `#/${view}${text === "" ? "" : `?${text}`}`;
}

export const go = (view: string, query: Readonly<Record<string, string | undefined>> = {}): void => void (location.hash = to(view, query));
