"""Records of a program's runs on several inputs."""

import pytest

from jaxrl_entropy.rewards.verifiers.code_prints import records

WHOLE = b"0 4\n1\n2\n-9 0\n1 3\n0 1"


def test_records():
  assert records(WHOLE) == [(0, "1\n2\n"), (-9, ""), (1, "0 1")]
  assert records(b"") == []


@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
def test_a_record_that_was_cut_off_is_left_out(cut):
  assert records(WHOLE[:-cut]) == records(WHOLE)[: len(records(WHOLE[:-cut]))]
