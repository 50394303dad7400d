// So many places in all, and so many of a project.
import { expect, test } from "vitest";
import { ApiError, type Caller } from "../../app/contract.ts";
import { Places } from "./places.ts";

const caller = (projectId: string, admin = false): Caller => ({ requestId: "r", projectId, userId: "u", roles: new Set([admin ? "admin" : "member"]), admin });

test("places are refused beyond what a project and all may have, and each is given back once", () => {
  const places = new Places({ all: 4, ofProject: 2 }, { full: () => new ApiError(503, "Full", "full", 1), ofProject: (mine) => new ApiError(429, "Mine", `${mine} already`, 1) });
  const leave = places.enter(caller("a"));
  places.enter(caller("a"));
  expect(() => places.enter(caller("a"))).toThrow("2 already");
  expect(places.size).toBe(2);
  // An administrator's counts for the project, and is not refused for it.
  const admins = places.enter(caller("a", true));
  places.enter(caller("b"));
  expect(() => places.enter(caller("c", true))).toThrow("full");
  admins();
  leave();
  leave();
  expect(places.size).toBe(2);
  places.enter(caller("a"));
  expect(() => places.enter(caller("a"))).toThrow("2 already");
});

test("projects together leave room for administrators", () => {
  const places = new Places({ all: 16, ofProject: 1 }, { full: () => new ApiError(503, "Full", "full", 1), ofProject: () => new ApiError(429, "Mine", "mine", 1) });
  for (let n = 0; n < 14; n++) places.enter(caller(`p${n}`));
  expect(() => places.enter(caller("one more"))).toThrow("full");
  places.enter(caller("operator", true));
  places.enter(caller("operator", true));
  expect(() => places.enter(caller("operator", true))).toThrow("full");
});
