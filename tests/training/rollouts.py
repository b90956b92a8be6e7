"""A small rollout for tests: two groups of two, the first one informative."""

import numpy as np

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.training.rollout import Rollout


def make_rollout(seed=0):
  rng = np.random.default_rng(seed)
  lengths = np.array([3, 1, 4, 2])
  shape = (4, 5)

  def signal():
    return rng.normal(size=shape).astype(np.float32)

  return Rollout(
    problems=[Problem("p", "1 2", "3", "test", "countdown")] * 4,
    prompts=[np.array([2, 3], np.int32)] * 4,
    responses=[np.arange(n, dtype=np.int32) + 2 for n in lengths],
    groups=np.array([0, 0, 1, 1], np.int32),
    rewards=np.array([1, 0, 1, 1], np.float32),
    correct=np.array([True, False, True, True]),
    truncated=np.zeros(4, bool),
    mask=np.arange(5) < lengths[:, None],
    signals={
      name: signal()
      for name in (
        *("sampler_logp", "logp", "old_logp"),
        *("entropy", "advantages"),
      )
    },
  )
