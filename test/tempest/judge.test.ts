import { expect, test } from "vitest";
import { judge, unexpected, type Outcome } from "./judge.ts";

const of = (id: string, outcome: Outcome["outcome"], text = ""): Outcome => ({ id, outcome, text });
const expected = { skipped: [{ test: "a.S", reason: "not built" }], failed: [{ test: "a.F.test_known", reason: "older than the extension" }] };

test("what is expected is neither passed nor failed, and is named with its reason", () => {
  const judged = judge([of("a.P.test_1", "passed"), of("a.S.test_1", "skipped"), of("a.S.test_2", "skipped"), of("a.F.test_known", "failed", "trace")], expected, true);
  expect(judged).toMatchObject({ passed: 1, failed: 0 });
  expect(judged.lines).toEqual([
    "axion: 1 failed as known:", "  a.F.test_known: older than the extension", "axion: 2 skipped:", "  a.S.test_1: not built", "  a.S.test_2: not built", "1 passed, 0 failed",
  ]);
});

test("what is not expected fails: a failure, a skip, a name that only starts alike", () => {
  const judged = judge([of("a.F.test_known_2", "failed", "trace"), of("a.S2.test_1", "skipped", "no such extension"), of("a.S.test_1", "failed", "setup"), of("a.F.test_known", "skipped", "off")], expected, false);
  expect(judged).toMatchObject({ passed: 0, failed: 4 });
  expect(judged.lines.at(-1)).toBe("0 passed, 4 failed");
});

test("a line that nothing bears out fails, when all tests were run", () => {
  const outcomes = [of("a.S.test_1", "passed"), of("a.F.test_known", "passed")];
  expect(judge(outcomes, expected, true)).toMatchObject({ passed: 2, failed: 2 });
  expect(judge(outcomes, expected, false)).toMatchObject({ passed: 2, failed: 0 });
});

test("nothing that ran is a failure", () => {
  expect(judge([], { skipped: [], failed: [] }, true)).toMatchObject({ passed: 0, failed: 1 });
});

test("tests that want an extension are known by its alias, in either form that tempest has", () => {
  const lines = { skipped: [{ extension: "qos", reason: "not built" }], failed: [] };
  const outcomes = [of("a.A.test_1", "skipped", "qos extension not enabled."), of("a.B.test_1", "skipped", "Skipped because network extension: qos is not enabled"), of("a.C.test_1", "skipped", "QOS extension not enabled")];
  expect(judge(outcomes, lines, true)).toMatchObject({ passed: 0, failed: 0 });
  expect(judge([...outcomes, of("a.D.test_1", "skipped", "qos-fip extension not enabled.")], lines, true)).toMatchObject({ failed: 1 });
  expect(judge([of("a.A.test_1", "failed", "qos extension not enabled.")], lines, true)).toMatchObject({ failed: 2 });
});

test("what is run again is what failed and no line names", () => {
  const outcomes = [of("a.P.test_1", "failed", "trace"), of("a.F.test_known", "failed", "trace"), of("a.S.test_1", "skipped"), of("a.P.test_2", "passed")];
  expect(unexpected(outcomes, expected).map(({ id }) => id)).toEqual(["a.P.test_1"]);
});
