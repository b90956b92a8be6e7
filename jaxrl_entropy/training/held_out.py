"""Evaluation of a policy on its task's test problems, by all processes."""

import functools
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxrl_entropy import (
  config as config_lib,
  distributed,
  evaluation,
)
from jaxrl_entropy.data.task import Task
from jaxrl_entropy.distributed import Preemption
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.evaluation import Evaluation
from jaxrl_entropy.rewards.pool import RewardPool
from jaxrl_entropy.rewards.settings import make_pool
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.training import build
from jaxrl_entropy.training.policy import Policy, load_policy


def evaluate_policy(
  config: ConfigDict,
  policy: Policy,
  task: Task,
  sampler: Sampler,
  pool: RewardPool,
  preemption: Preemption,
  final: bool = True,
) -> Evaluation:
  """Evaluates on the first problems of the test split, as `config.eval` says.

  The processes share the work; all get the whole result.

  Args:
    config: of the run.
    policy: what is evaluated.
    task: gives the problems.
    sampler: for the policy's model, with room for prompts and responses.
    pool: verifies the responses.
    preemption: says when to stop, between two steps of the decoder or while
      responses are verified.
    final: whether to evaluate at the further temperatures of a final policy as
      well.

  Raises:
    PreemptedError: a process was asked to stop; nothing has changed.
    UserError: if their responses cannot be scored here.
  """
  settings = config.eval
  count = min(settings.problems, task.size("test"))
  chosen = [task.problem("test", i) for i in range(count)]
  pool.check(chosen)
  generate = evaluation.generator(
    sampler,
    policy.params,
    policy.tokenizer,
    settings.max_response_length or config.rollout.max_response_length,
    settings.top_p,
    settings.top_k,
    lambda *_: preemption.raise_if_requested(),
  )
  at = functools.partial(
    evaluation.evaluate,
    distributed.shard_over_hosts(generate),
    policy.tokenizer,
    chosen,
    distributed.shard_over_hosts(
      functools.partial(preemption.run, pool.verify)
    ),
    samples=settings.samples,
  )
  result = at(
    temperature=settings.temperature,
    source_temperatures=settings.source_temperatures,
    greedy=settings.greedy,
  )
  for temperature in settings.final_temperatures if final else ():
    further = at(temperature=temperature, greedy=False)
    result = result.beside(f"at_{temperature:g}", further)
  stop_if_nothing_judged(pool)
  return result


def evaluate_alone(
  config: ConfigDict, policy: Policy, task: Task, preemption: Preemption
) -> Evaluation:
  """Evaluates as `evaluate_policy` does, with a sampler and a pool of its own.

  Args:
    config: of the run.
    policy: what is evaluated.
    task: gives the problems.
    preemption: says when to stop.

  Raises:
    PreemptedError: a process was asked to stop.
    UserError: the responses cannot be scored here.
  """
  sampler = build.build_sampler(config, policy.model, policy.mesh)
  with make_pool(config.reward.to_dict()) as pool:
    return evaluate_policy(config, policy, task, sampler, pool, preemption)


def stop_if_nothing_judged(pool: RewardPool) -> None:
  """Ends a run whose rewards cannot be right; all processes must call this.

  Raises:
    UserError: on every process, a reward function has judged no response yet.
  """
  messages = distributed.all_gather(pool.nothing_judged())
  if messages[0] is not None and None not in messages:
    raise UserError(messages[0])


def evaluate(
  workdir: str | Path, best: bool = False, **settings: Any
) -> Evaluation:
  """Evaluates the policy of a run on the test problems of its task.

  Args:
    workdir: folder of the run.
    best: whether its best policy is meant, or its last.
    **settings: fields of `config.eval` that replace the run's.

  Raises:
    UserError: if there is no such run, or its responses cannot be scored here.
  """
  overrides = [(f"eval.{name}", str(x)) for name, x in settings.items()]
  config = config_lib.of_run(workdir, overrides)
  policy = load_policy(config, workdir, best)
  task = build.build_task(config, policy.tokenizer)
  # It is not entered: signals are the business of the caller.
  return evaluate_alone(config, policy, task, Preemption())
