"""The policy on one fixed held-out set, during a run."""

from collections.abc import Sequence
import zlib

import jax
from ml_collections import ConfigDict
import numpy as np

from jaxrl_entropy.evaluation import evaluate, summarise
from jaxrl_entropy.rewards.verify import RewardPool
from jaxrl_entropy.sampling.request import Completion, Request
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.training import multihost
from jaxrl_entropy.training.build import Policy
from jaxrl_entropy.types import Params

NAME = "held_out"


def evaluate_held_out(
  config: ConfigDict,
  policy: Policy,
  sampler: Sampler,
  pool: RewardPool,
  params: Params,
) -> dict[str, float]:
  """`eval/held_out/*` on the first problems of the task's test split.

  The processes share the problems; all get the metrics of all.
  """
  settings, task = config.eval, policy.task
  count = min(settings.problems, task.size("test"))

  def generate(
    prompts: Sequence[Sequence[int]], samples: int, temperature: float
  ) -> list[list[Completion]]:
    requests = [
      Request(
        prompt=tuple(prompt),
        n=samples,
        max_tokens=config.rollout.max_response_length,
        temperature=temperature,
        stop_ids=(policy.tokenizer.eos_id,),
        # A problem's random numbers depend on nothing but the problem.
        seed=zlib.crc32(np.asarray(prompt, np.int32).tobytes()),
      )
      for prompt in prompts
    ]
    return sampler.generate(params, requests)

  mine = range(count)[jax.process_index() :: jax.process_count()]
  result = evaluate(
    generate,
    policy.tokenizer,
    [task.problem("test", i) for i in mine],
    pool.score,
    samples=settings.samples,
    temperature=settings.temperature,
    greedy=settings.greedy,
  )
  parts = multihost.share(result.records)
  records = [record for part in parts for record in part]
  return {f"eval/{NAME}/{k}": v for k, v in summarise(records).items()}
