"""Evaluation of a policy on its task's test problems, by all processes."""

from ml_collections import ConfigDict

from jaxrl_entropy import distributed
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.evaluation import Evaluation, evaluate, generator
from jaxrl_entropy.rewards.pool import RewardPool
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.training.build import Policy


def evaluate_policy(
  config: ConfigDict, policy: Policy, sampler: Sampler, pool: RewardPool
) -> Evaluation:
  """Evaluates on the first problems of the test split, as `config.eval` says.

  The processes share the work; all get the whole result.

  Raises:
    UserError: their responses cannot be scored here.
  """
  settings, task = config.eval, policy.task
  count = min(settings.problems, task.size("test"))
  chosen = [task.problem("test", i) for i in range(count)]
  pool.check(chosen)
  generate = generator(
    sampler,
    policy.params,
    policy.tokenizer,
    settings.max_response_length or config.rollout.max_response_length,
    settings.top_p,
    settings.top_k,
  )
  result = evaluate(
    distributed.shard_over_hosts(generate),
    policy.tokenizer,
    chosen,
    distributed.shard_over_hosts(pool.verify),
    samples=settings.samples,
    temperature=settings.temperature,
    source_temperatures=settings.source_temperatures,
    greedy=settings.greedy,
  )
  stop_if_nothing_judged(pool)
  return result


def stop_if_nothing_judged(pool: RewardPool) -> None:
  """Ends a run whose rewards cannot be right; all processes must call this.

  Raises:
    UserError: on every process, a reward function has judged no response yet.
  """
  messages = distributed.all_gather(pool.nothing_judged())
  if messages[0] is not None and None not in messages:
    raise UserError(messages[0])
