import pytest

from benchmarks import memory


@pytest.mark.slow
def test_the_fused_head_halves_the_temporaries_of_a_step():
  fused = memory.planned("fused + remat")
  full = memory.planned("full logits + remat")
  assert fused <= full / 2
