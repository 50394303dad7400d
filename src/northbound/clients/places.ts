// Places of requests that stay for long: so many of all, and so many of each project.
import type { ApiError, Caller } from "../../app/contract.ts";

export interface PlaceLimits {
  readonly all: number;
  /** Those of administrators count, but none of theirs is refused for it. */
  readonly ofProject: number;
}

/** What those are told for whom there is none. */
export interface Refusals {
  full(): ApiError;
  /** `mine`: how many the project has. */
  ofProject(mine: number): ApiError;
}

/** One of so many is kept for administrators and services: projects together do not keep them out. */
const RESERVE = 8;

export class Places {
  private readonly limits: PlaceLimits;
  private readonly refusals: Refusals;
  private readonly projects = new Map<string, number>();
  private taken = 0;

  constructor(limits: PlaceLimits, refusals: Refusals) {
    this.limits = limits;
    this.refusals = refusals;
  }

  get size(): number {
    return this.taken;
  }

  /** Takes a place; what is returned gives it back, once. @throws ApiError */
  enter({ projectId, admin, roles }: Caller): () => void {
    const mine = this.projects.get(projectId) ?? 0;
    const kept = admin || roles.has("service") ? 0 : Math.floor(this.limits.all / RESERVE);
    if (this.taken >= this.limits.all - kept) throw this.refusals.full();
    if (mine >= this.limits.ofProject && !admin) throw this.refusals.ofProject(mine);
    this.taken++;
    this.projects.set(projectId, mine + 1);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.taken--;
      const left = this.projects.get(projectId)! - 1;
      if (left === 0) this.projects.delete(projectId);
      else this.projects.set(projectId, left);
    };
  }
}
