import pytest

from benchmarks import memory


@pytest.mark.slow
def test_the_fused_head_halves_the_temporaries_of_a_step():
  fused = memory.planned(memory.FORWARDS["fused + remat"])
  full = memory.planned(memory.FORWARDS["full logits + remat"])
  assert fused <= full / 2
