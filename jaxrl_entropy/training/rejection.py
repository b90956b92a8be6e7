"""Rejection sampling: right responses of the policy itself become traces."""

import functools
import json
from pathlib import Path

from ml_collections import ConfigDict

from jaxrl_entropy import distributed, run_files
from jaxrl_entropy.data.task import Task
from jaxrl_entropy.distributed import Preemption
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.evaluation import Evaluation, evaluate, generator
from jaxrl_entropy.rewards.settings import make_pool
from jaxrl_entropy.training import build
from jaxrl_entropy.training.policy import Policy


def sampled_traces(
  config: ConfigDict,
  policy: Policy,
  task: Task,
  folder: Path,
  preemption: Preemption,
) -> ConfigDict:
  """Samples responses, and returns a config of SFT on the right ones.

  The first `sft.questions` training problems are asked `sft.samples` times
  each, as rollouts are, and all responses are written with their verdicts;
  samples that are there already are not drawn again.

  Args:
    config: of the run; it is left as it is.
    policy: what is sampled.
    task: gives the problems.
    folder: of the SFT stage, where the responses are kept.
    preemption: says when to stop.

  Raises:
    PreemptedError: a process was asked to stop; no response is kept.
    UserError: no response is right.
    ValueError: the responses could not be verified here.
  """
  path = folder / run_files.SFT_SAMPLES
  if not path.exists():
    result = _sample(config, policy, task, preemption)
    if not any(record["correct"] for record in result.records):
      raise UserError(
        f"sft: none of {len(result.records)} sampled responses is right, so "
        "there is nothing to learn from: raise sft.questions or sft.samples"
      )
    distributed.on_writer(lambda: _write(result, path))
  config = ConfigDict(config.to_dict())
  config.sft.task.name = "traces"
  config.sft.task.args = {"path": str(path)} | dict(config.sft.task.args)
  return config


def _sample(
  config: ConfigDict, policy: Policy, task: Task, preemption: Preemption
) -> Evaluation:
  rollout = config.rollout
  count = min(config.sft.questions, task.size("train"))
  problems = [task.problem("train", i) for i in range(count)]
  sampler = build.build_sampler(config, policy.model, policy.mesh)
  generate = generator(
    sampler,
    policy.params,
    policy.tokenizer,
    rollout.max_response_length,
    rollout.top_p,
    rollout.top_k,
    lambda *_: preemption.raise_if_requested(),
  )
  with make_pool(config.reward.to_dict()) as pool:
    pool.check(problems)
    return evaluate(
      distributed.shard_over_hosts(generate),
      policy.tokenizer,
      problems,
      distributed.shard_over_hosts(
        functools.partial(preemption.run, pool.verify)
      ),
      samples=config.sft.samples,
      temperature=rollout.temperature,
      greedy=False,
    )


def _write(result: Evaluation, path: Path) -> None:
  """Writes the samples; an empty response is nothing to imitate."""
  partial = path.with_suffix(".partial")
  with partial.open("w", encoding="utf-8") as lines:
    lines.writelines(
      json.dumps(record) + "\n"
      for record in result.records
      if record["response"].strip()
    )
  partial.replace(path)
