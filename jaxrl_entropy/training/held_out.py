"""The policy on one fixed held-out set, during a run."""

import jax
from ml_collections import ConfigDict

from jaxrl_entropy.evaluation import evaluate, generator, summarise
from jaxrl_entropy.rewards.verify import RewardPool
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

  mine = range(count)[jax.process_index() :: jax.process_count()]
  result = evaluate(
    generator(
      sampler, params, policy.tokenizer, config.rollout.max_response_length
    ),
    policy.tokenizer,
    [task.problem("test", i) for i in mine],
    pool.score,
    samples=settings.samples,
    temperature=settings.temperature,
    source_temperatures=settings.source_temperatures,
    greedy=settings.greedy,
  )
  parts = multihost.share(result.records)
  records = [record for part in parts for record in part]
  return {f"eval/{NAME}/{k}": v for k, v in summarise(records).items()}
