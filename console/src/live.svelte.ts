// What is asked for again and again while it is looked at.
import { get, OpsError, reloads } from "./api.svelte.ts";

export class Live<T> {
  value = $state.raw<T | undefined>(undefined);
  /** Why there is nothing new. */
  error = $state.raw<OpsError | undefined>(undefined);

  /** In a component's beginning: `path` is read again when what it depends on changes. */
  constructor(path: () => string, everyMs: number) {
    $effect(() => {
      const asked = path();
      reloads();
      const stop = new AbortController();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const look = async (): Promise<void> => {
        try {
          // Nobody looks at a page in the background.
          if (!document.hidden || this.value === undefined) this.value = await get<T>(asked, stop.signal);
          this.error = undefined;
        } catch (error) {
          if (stop.signal.aborted) return;
          this.error = error instanceof OpsError ? error : new OpsError(0, String(error));
        }
        if (!stop.signal.aborted && this.error?.status !== 401) timer = setTimeout(() => void look(), everyMs);
      };
      void look();
      return () => {
        stop.abort();
        clearTimeout(timer);
      };
    });
  }
}

/** "3 min", of an instant in the past. */
export function ago(instant: string | null | undefined): string {
  if (instant === null || instant === undefined) return "";
  const s = Math.max(0, Math.round((Date.now() - Date.parse(instant)) / 1000));
  if (Number.isNaN(s)) return instant;
  return s < 90 ? `${s} s` : s < 5400 ? `${Math.round(s / 60)} min` : s < 172_800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86_400)} days`;
}
