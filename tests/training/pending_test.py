import dataclasses

import numpy as np

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.sampling.request import Completion
from jaxrl_entropy.training import pending
from jaxrl_entropy.training.rollout import PartialGroup
from tests.training.rollouts import make_rollout


def assert_equal(a, b):
  assert type(a) is type(b)
  if isinstance(a, np.ndarray):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)
  elif isinstance(a, list | tuple):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
      assert_equal(x, y)
  elif isinstance(a, dict):
    assert set(a) == set(b)
    for name in a:
      assert_equal(a[name], b[name])
  elif dataclasses.is_dataclass(a):
    assert_equal(vars(a), vars(b))
  else:
    assert a == b


def test_rollouts_and_partial_groups_come_back():
  ones = np.ones(2, np.float32)
  completion = Completion(np.arange(2, dtype=np.int32), *(ones,) * 5, "length")
  problem = Problem(
    "a/1", "1 2", "3", "a", "coin", 2.5, (("in", "out"),), {"k": [1, None]}
  )
  held = [PartialGroup(problem, 7, (completion, completion))]
  value = ((make_rollout(), 3), held)
  assert_equal(pending.decode(pending.encode(value)), value)


def test_nothing_carried_comes_back():
  assert pending.decode(pending.encode((None, []))) == (None, [])
