"""Counts the verdicts, and prints and checks the counts at the end."""

from collections import Counter

import jax
import pytest

# The cases run op by op, in many shapes: keep even the smallest programs.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

MOST_NOT_IMPLEMENTED = 30
MOST_DIFFERENT = 20

_counts = pytest.StashKey[Counter]()


@pytest.fixture
def tally(request) -> Counter:
  return request.config.stash.setdefault(_counts, Counter())


def pytest_terminal_summary(terminalreporter, config):
  counts = config.stash.get(_counts, None)
  if counts:
    terminalreporter.write_line(
      f"golden: {counts['passed']} passed, "
      f"{counts['differs by design']} differ by design, "
      f"{counts['not implemented']} not implemented"
    )


def pytest_sessionfinish(session, exitstatus):
  counts = session.config.stash.get(_counts, Counter())
  if (
    counts["not implemented"] > MOST_NOT_IMPLEMENTED
    or counts["differs by design"] > MOST_DIFFERENT
  ) and exitstatus == pytest.ExitCode.OK:
    session.exitstatus = pytest.ExitCode.TESTS_FAILED
