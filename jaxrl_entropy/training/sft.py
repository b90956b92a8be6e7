"""Supervised fine-tuning (SFT) on demonstrations or traces.

Imitation is REINFORCE with advantage 1 on given responses, so the update is the
one of reinforcement learning.
"""

from collections.abc import Callable, Iterable
import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path, PurePath
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from jaxrl_entropy import distributed, losses, run_files, sharding
from jaxrl_entropy.data.task import Task
from jaxrl_entropy.distributed import Preemption
from jaxrl_entropy.errors import PreemptedError, UserError
from jaxrl_entropy.training import (
  build,
  demonstrations,
  kernels,
  memory,
  start,
  state as state_lib,
)
from jaxrl_entropy.training.checkpoint import Checkpoints
from jaxrl_entropy.training.forward import Forward, forward_slices
from jaxrl_entropy.training.held_out import evaluate_alone
from jaxrl_entropy.training.lease import lease_for_job
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.training.policy import Policy, build_policy
from jaxrl_entropy.training.rejection import sampled_traces
from jaxrl_entropy.training.run_log import MetricsFile, Progress
from jaxrl_entropy.training.state import TrainState
from jaxrl_entropy.training.update import make_update
from jaxrl_entropy.types import Metrics, Params

# Settings of the optimizer that SFT shares with the run, and its own.
OPTIMIZER = ("b1", "b2", "eps", "weight_decay", "grad_clip", "warmup_steps")
IMITATION = {"name": "adamw", "schedule": "cosine"}
SAVE_EVERY = 400
SHOW_EVERY = 20
MADE_OF = "made_of.json"


def wanted(config: ConfigDict) -> bool:
  """Whether a run starts with SFT."""
  return bool(config.sft.steps or config.sft.epochs)


def fine_tune(config: ConfigDict, workdir: str | Path) -> None:
  """Runs the SFT stage of a run alone, saves its checkpoint and evaluates it.

  Args:
    config: of the run.
    workdir: folder of the run, to which `sft.folder` is relative.

  Raises:
    UserError: if the config asks for no SFT.
  """
  if not wanted(config):
    raise UserError(
      "sft.steps and sft.epochs are 0, so there is nothing to fine-tune: set "
      "--config.sft.steps, or --config.sft.epochs for traces"
    )
  policy = build_policy(config)
  task = build.build_task(config, policy.tokenizer)
  memory.check_training(IMITATION["name"], policy.params)
  with jax.set_mesh(policy.mesh), Preemption() as preemption:
    params = fine_tuned_params(config, policy, task, Path(workdir), preemption)
    policy = dataclasses.replace(policy, params=params)
    accuracy = _accuracy(config, policy, task, preemption)
  if distributed.is_writer():
    print(f"sft: {start_folder(config, Path(workdir))}")
    if accuracy is not None:
      print(f"accuracy on the task's test problems: {accuracy:.4f}")


def fine_tuned_params(
  config: ConfigDict,
  policy: Policy,
  task: Task,
  workdir: Path,
  preemption: Preemption,
) -> Params:
  """Returns the policy's parameters after the imitation of `config.sft`.

  The optimizer is AdamW, whatever trains the policy afterwards: gradients of an
  untrained model are too unlike in size for plain descent.
  A finished SFT checkpoint is reused; an unfinished one is resumed.

  Args:
    config: of the run.
    policy: the model with its first weights.
    task: gives the problems whose sampled responses are imitated, where
      `sft.samples` is set.
    workdir: folder of the run, to which `sft.folder` is relative.
    preemption: says when to save and stop.

  Raises:
    PreemptedError: a process was asked to stop; what was done is saved.
  """
  folder = start_folder(config, workdir)
  with (
    lease_for_job(folder) as check_lease,
    start.nothing_left(folder, check_lease),
  ):
    distributed.on_writer(
      lambda: (folder / MADE_OF).write_text(_made_of(config))
    )
    if config.sft.samples:
      config = sampled_traces(config, policy, task, folder, preemption)
    batches = demonstrations.make(config, policy)
    return _imitate(config, policy, batches, folder, preemption, check_lease)


def _imitate(
  config: ConfigDict,
  policy: Policy,
  batches: demonstrations.Fresh | demonstrations.Imitated,
  folder: Path,
  preemption: Preemption,
  check_lease: Callable[[], None],
) -> Params:
  """Runs the SFT steps that are not done yet and saves them in `folder`."""
  steps = batches.steps
  optimizer = _optimizer(config, steps)
  state = state_lib.init_state(
    policy.params, optimizer, config.seed, policy.mesh
  )
  forward = kernels.tried_forward(
    build.build_forward(config, policy.model),
    policy.mesh,
    demonstrations.row_capacity(config, policy) // config.sft.micro_batches,
    demonstrations.row_length(config),
  )
  update = _make_update(config, policy, optimizer, forward, state)
  loss = _loss(forward)
  with contextlib.closing(Checkpoints(folder, keep=1)) as checkpoints:
    restored = checkpoints.restore(state)
    done, state = (restored.step, restored.state) if restored else (0, state)
    offset = restored.host.get("offset", 0) if restored else 0
    if done < steps:
      size = config.sft.batch_size
      distributed.say(f"sft: {batches.about}; {steps} steps of {size}")
    with _Records(folder, steps, done, offset) as records:
      for step in range(done, steps):
        state, metrics = update(state, batches.train(step))
        done, stop = step + 1, False
        if done % SHOW_EVERY == 0 or done == steps:
          record = {"step": done, "loss": float(metrics["loss"].compute())}
          if _due(config, done) or done == steps:
            record |= _held_out(loss, state.params, batches.held_out())
          records.write(record | {"left_out": batches.left_out})
          stop = preemption.requested()
        if stop or done % SAVE_EVERY == 0 or done == steps:
          check_lease()
          host = {"offset": records.offset()}
          checkpoints.save(done, state, host, np.zeros(1, np.uint8))
        if stop and done < steps:
          raise PreemptedError
  return state.params


def _make_update(
  config: ConfigDict,
  policy: Policy,
  optimizer: optax.GradientTransformation,
  forward: Forward,
  state: TrainState,
) -> Callable[[TrainState, Rows], tuple[TrainState, Metrics]]:
  objective = losses.objective(
    losses.log_likelihood(), aggregate=losses.token_mean()
  )
  return make_update(
    lambda _: objective,
    optimizer,
    forward,
    sharding.param_shardings(state, policy.mesh),
    num_responses=config.sft.batch_size,
    max_length=demonstrations.row_length(config),
  )


def _optimizer(config: ConfigDict, steps: int) -> optax.GradientTransformation:
  settings = ConfigDict(config.optimizer)
  with settings.unlocked():
    settings.update(IMITATION)
    settings.learning_rate = config.sft.learning_rate
  schedule = state_lib.learning_rate(settings, steps)
  return state_lib.make_optimizer(settings, schedule)


def _due(config: ConfigDict, done: int) -> bool:
  """Whether the held-out loss is due, which is looked at with the loss."""
  every = config.sft.eval_every
  return bool(every) and done % every < SHOW_EVERY


def _loss(forward: Forward) -> Callable[[Params, Rows], Any]:
  """Returns the jitted sum of -log p over response tokens, and their count."""

  @jax.jit
  def loss(params: Params, rows: Rows) -> Any:
    logp = forward_slices(forward, params, rows).logp
    return -jnp.where(rows.mask, logp, 0.0).sum(), rows.mask.sum()

  return loss


def _held_out(
  loss: Callable[[Params, Rows], Any], params: Params, batches: Iterable[Rows]
) -> dict[str, float]:
  """Returns the loss per token on held-out traces, where there are any."""
  sums = [tuple(map(float, loss(params, rows))) for rows in batches]
  if not sums:
    return {}
  total, tokens = map(sum, zip(*sums, strict=True))
  return {"held_out_loss": total / tokens}


class _Records:
  """`sft.jsonl` and the progress line, written by one process.

  A context manager.
  """

  def __init__(self, folder: Path, steps: int, done: int, offset: int) -> None:
    self._progress = Progress("sft", steps, done)
    self._file: MetricsFile | None = None
    if distributed.is_writer():
      self._file = MetricsFile(folder / run_files.SFT_METRICS, offset)

  def __enter__(self) -> "_Records":
    return self

  def __exit__(self, *exception: object) -> None:
    if self._file is not None:
      self._file.close()

  def write(self, record: dict[str, float]) -> None:
    if self._file is not None:
      self._file.write(record)
    shown = {name: value for name, value in record.items() if value}
    self._progress.show(int(shown.pop("step")), **shown)

  def offset(self) -> int:
    return self._file.offset() if self._file is not None else 0


def _accuracy(
  config: ConfigDict, policy: Policy, task: Task, preemption: Preemption
) -> float | None:
  """Returns the accuracy on the task's test problems, if it has any."""
  if not task.size("test"):
    return None
  evaluation = evaluate_alone(config, policy, task, preemption)
  return evaluation.metrics["accuracy"]


def start_folder(config: ConfigDict, workdir: Path) -> Path:
  """Returns the folder of this config's SFT checkpoint.

  `sft.folder` is relative to the workdir; runs of a study share it. The
  name in it is a digest of all that decides the result.

  Args:
    config: of the run.
    workdir: folder of the run.
  """
  digest = hashlib.sha256(_made_of(config).encode()).hexdigest()[:8]
  model = PurePath(config.model.weights).name or config.model.preset
  name = f"{model}-{digest}"
  return (workdir / config.sft.folder / name).resolve()


def _made_of(config: ConfigDict) -> str:
  """Returns all fields that decide the result of SFT, as JSON."""
  optimizer = {name: config.optimizer[name] for name in OPTIMIZER} | IMITATION
  fields = {
    "seed": config.seed,
    "optimizer": optimizer,
    "temperature": config.rollout.temperature,
    "model": config.model.to_dict(),
    "task": config.task.to_dict(),
    "sft": config.sft.to_dict(),
    "prompt_length": config.rollout.max_prompt_length,
    "response_length": config.rollout.max_response_length,
  }
  return json.dumps(fields, indent=2, sort_keys=True)
