// Who has a network of IPv6 addresses has more of them than there are buckets.
import { expect, test } from "vitest";
import { RateLimiter } from "./rate.ts";

test("addresses of one IPv6 link have one share", () => {
  const limiter = new RateLimiter({ unauthenticated: { perSecond: 1, burst: 5 } }, undefined, () => 0);
  let asked = 0;
  for (let n = 0; n < 1000; n++) {
    try {
      limiter.before(`2001:db8:0:1::${n.toString(16)}`, "none");
    } catch {
      continue;
    }
    asked++;
    limiter.refused(`2001:db8:0:1::${n.toString(16)}`, "none");
  }
  expect(asked).toBeLessThanOrEqual(5);
});
