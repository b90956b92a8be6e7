import dataclasses

import jax
import pytest

from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.planning import sizes
from tests.planning.workload_test import MODEL


def test_sizes_are_those_of_the_parameters():
  size = sizes.sizes(MODEL)
  assert (size.attention, size.mlp, size.head) == (192, 768, 256)
  assert size.total == 192 + 768 + 2 * 256
  assert size.cached == 2 * 2 * 2  # keys and values of 2 layers, 1 head of 2
  for name in ("qwen2.5-7b", "qwen3-30b-a3b", "gemma3-27b", "llama3.1-70b"):
    model = preset(name)
    shapes = jax.eval_shape(
      lambda model=model: transformer.init(model, jax.random.key(0))
    )
    count = sum(x.size for x in jax.tree.leaves(shapes))
    assert sizes.sizes(model).total == pytest.approx(count, rel=1e-3), name


def test_pairs_of_a_window_grow_with_it_and_not_with_the_row():
  model = dataclasses.replace(
    MODEL, sliding_window=4, sliding_layers=(True, False)
  )
  size = sizes.sizes(model)
  # All before: 10 * 10 / 2. The window: 4 * 4 / 2 until it is full, then 6 * 4.
  assert size.pairs(10) == 50 + 8 + 24
  assert size.pairs(10, first=6) == 50 - 18 + 4 * 4
