// Why a file cannot be read, for the person who named it.

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file", ENOTDIR: "no such file", EACCES: "no permission", EPERM: "no permission", EISDIR: "it is a folder",
};

/** Of an error of node:fs; the system's own code for what has no plainer name. */
export function fileErrorText(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === undefined ? message : (reasons[code] ?? code);
}
