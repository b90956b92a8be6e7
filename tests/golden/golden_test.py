"""Every case of the peers' code: value, metrics and gradient.

JAXRL_GOLDEN_DIR names another set of the same format.
"""

import pytest

from tests.golden import harness, tally


@pytest.mark.parametrize("case", list(harness.load()), ids=lambda case: case.id)
def test_agrees_with_the_peer(case, record_property):
  verdict = harness.run(case)
  record_property(tally.PROPERTY, verdict.kind)
  if verdict.kind == "not implemented":
    assert verdict.reason, f"no adapter, and no reason, for {case.function}"
    pytest.skip(verdict.reason)
