"""Every case of the peers' code: value, metrics and gradient.

JAXRL_GOLDEN_DIR names another set of the same format.
"""

import pytest

from tests.golden import harness


@pytest.mark.parametrize("case", list(harness.load()), ids=lambda case: case.id)
def test_agrees_with_the_peer(case, tally):
  verdict = harness.run(case)
  tally[verdict.kind] += 1
  if verdict.kind == "not implemented":
    assert verdict.reason, f"no adapter, and no reason, for {case.function}"
    pytest.skip(verdict.reason)
