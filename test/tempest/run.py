"""Runs a share of the tests of packages with Debian's own interpreter: run.py PACKAGE,... SHARE SHARES RESULTS [PART...]

Classes are dealt out to the shares in turn; of those, tests with one of the parts in their names, or all. RESULTS gets one line of JSON per
test when its class has ended: {"id", "outcome": passed | failed | skipped, "text"}. A class whose setup skips or fails does so for each of its tests; a
teardown that fails is a failure of its own.
"""
import importlib
import json
import pkgutil
import re
import sys
import unittest

import testtools


def modules(name):
    package = importlib.import_module(name)
    for found in pkgutil.walk_packages(package.__path__, name + "."):
        if not found.ispkg and found.name.rsplit(".", 1)[1].startswith("test_"):
            yield importlib.import_module(found.name)


def tests_of(suite):
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from tests_of(one)
        else:
            yield one


class Results(testtools.TestResult):
    def __init__(self, out):
        super().__init__()
        self.out = out
        self.told = {}

    def tell(self, test, outcome, text=""):
        # tempest puts attributes into the id: test_x[id-...,smoke]
        name = re.sub(r"\[(?:id-|compute|network|smoke|slow|negative).*?\]", "", test.id())
        # What fails after its test has passed (a cleanup) is a failure.
        if self.told.get(name, ("passed",))[0] == "passed":
            self.told[name] = (outcome, text)

    def text(self, test, err, details):
        return self._err_details_to_string(test, err, details)

    def addSuccess(self, test, details=None):
        self.tell(test, "passed")

    def addError(self, test, err=None, details=None):
        self.tell(test, "failed", self.text(test, err, details))

    addFailure = addError

    def addSkip(self, test, reason=None, details=None):
        self.tell(test, "skipped", reason if details is None else details["reason"].as_text() if "reason" in details else str(details))

    def addExpectedFailure(self, test, err=None, details=None):
        self.tell(test, "passed")

    def addUnexpectedSuccess(self, test, details=None):
        self.tell(test, "failed", "passed, which was not expected")

    def finish(self, whole, names):
        """Writes what became of the tests of a class: of one that was not run, what became of the class."""
        setup = self.told.get("setUpClass (%s)" % whole)
        for name in names:
            outcome, text = self.told.get(name) or setup or ("failed", "it was not run")
            self.write(name, outcome, text)
        for name, (outcome, text) in self.told.items():
            if name not in names and not name.startswith("setUpClass") and outcome == "failed":
                self.write(name, outcome, text)
        self.told = {}

    def write(self, name, outcome, text):
        self.out.write(json.dumps({"id": name, "outcome": outcome, "text": text.strip()}) + "\n")
        self.out.flush()


def main(packages, share, shares, results, *parts):
    loader = unittest.TestLoader()
    classes = {}
    for module in (module for package in packages.split(",") for module in modules(package)):
        for test in tests_of(loader.loadTestsFromModule(module)):
            if not parts or any(part in test.id() for part in parts):
                classes.setdefault("%s.%s" % (type(test).__module__, type(test).__qualname__), []).append(test)
    with open(results, "w", encoding="utf8") as out:
        result = Results(out)
        for number, (whole, tests) in enumerate(sorted(classes.items())):
            if number % int(shares) != int(share):
                continue
            names = [re.sub(r"\[(?:id-|compute|network|smoke|slow|negative).*?\]", "", test.id()) for test in tests]
            unittest.TestSuite(tests).run(result)
            result.finish(whole, names)


main(*sys.argv[1:])
