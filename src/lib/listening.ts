// Which setting an address comes from that cannot be listened on, for whoever has to change it.

/** What a failed `listen` rejects with, under the setting's name (a flag without its dashes). */
export type ListenError = NodeJS.ErrnoException & { readonly setting?: string; readonly address?: string; readonly port?: number };

export async function listening<T>(setting: string, listen: Promise<T>): Promise<T> {
  try {
    return await listen;
  } catch (error) {
    throw Object.assign(error as Error, { setting });
  }
}
