// Addresses to listen on: which setting one comes from that cannot be listened on, for whoever has to change it; and which are of this machine alone.
import { isIPv4 } from "node:net";

/** What a failed `listen` rejects with, under the setting's name (a flag without its dashes). */
export type ListenError = NodeJS.ErrnoException & { readonly setting?: string; readonly address?: string; readonly port?: number };

export async function listening<T>(setting: string, listen: Promise<T>): Promise<T> {
  try {
    return await listen;
  } catch (error) {
    throw Object.assign(error as Error, { setting });
  }
}

/** Whether a name or address, without a port, is of this machine alone. */
export const isLoopbackName = (host: string): boolean => host === "localhost" || host.endsWith(".localhost") || host === "::1" || (isIPv4(host) && host.startsWith("127."));
