"""Counts the golden verdicts, and prints and checks the counts at the end.

A plugin of pytest: the verdicts come with the reports of the tests, so that
they are counted in one place however many processes run them.
"""

from collections import Counter

import pytest

PROPERTY = "golden"
MOST_NOT_IMPLEMENTED = 30
MOST_DIFFERENT = 20


class Tally:
  def __init__(self):
    self._counts = Counter()

  def pytest_runtest_logreport(self, report):
    if report.when == "call":
      self._counts.update(
        kind for name, kind in report.user_properties if name == PROPERTY
      )

  def pytest_terminal_summary(self, terminalreporter):
    counts = self._counts
    if counts:
      terminalreporter.write_line(
        f"golden: {counts['passed']} passed, "
        f"{counts['differs by design']} differ by design, "
        f"{counts['not implemented']} not implemented"
      )

  def pytest_sessionfinish(self, session, exitstatus):
    if exitstatus == pytest.ExitCode.OK and (
      self._counts["not implemented"] > MOST_NOT_IMPLEMENTED
      or self._counts["differs by design"] > MOST_DIFFERENT
    ):
      session.exitstatus = pytest.ExitCode.TESTS_FAILED
