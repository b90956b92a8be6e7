"""The order of things in a run of reinforcement learning."""

import contextlib
from pathlib import Path
import time
from typing import Any
import warnings

import jax
from ml_collections import ConfigDict
import numpy as np

from jaxrl_entropy.rewards.verify import RewardPool
from jaxrl_entropy.training import (
  build,
  diagnostics,
  method as method_lib,
  multihost,
  probe,
)
from jaxrl_entropy.training.checkpoint import Checkpoints
from jaxrl_entropy.training.metrics import METRICS, RunLog
from jaxrl_entropy.training.pretrain import warm_start
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.training.state import TrainState
from jaxrl_entropy.training.trainer import Stopwatch, Trainer
from jaxrl_entropy.types import Metrics

STATES = "probe.npz"


def train(config: ConfigDict, workdir: str | Path) -> int:
  """Runs `config` in `workdir`, from its last checkpoint if there is one.

  Record `k` of the metrics file describes the policy after `k` steps and the
  updates made from its rollout; the last one, `config.steps`, has no updates.

  Returns:
    Exit status: 0, or `multihost.PREEMPTED` after SIGTERM or SIGINT; the same
    call then goes on where this one stopped.

  Raises:
    UserError: for settings that do not fit together.
    FloatingPointError: after too many updates in a row that are not finite.
  """
  workdir = Path(workdir)
  workdir.mkdir(parents=True, exist_ok=True)
  policy = build.build_policy(config)
  reward = config.reward
  with (
    jax.set_mesh(policy.mesh),
    multihost.Preemption() as preemption,
    RewardPool(reward.workers, reward.timeout, reward.sandbox) as pool,
  ):
    method = method_lib.resolve(config)
    warn_if_idle(config)
    trainer = Trainer(config, policy, method, pool)
    state = trainer.init(policy.params)
    run = _Run(config, workdir, trainer)
    step, state = run.resume(state)
    if step is None:
      _say(f"{workdir}: all {config.steps} steps are done")
      return 0
    if step == 0 and config.pretrain.steps:
      start = warm_start(config, policy, workdir, preemption)
      state = trainer.init(start)
    return run.steps(state, step, preemption)


def warn_if_idle(config: ConfigDict) -> None:
  """KL-Cov's penalty |log-ratio| is 0 at the first update after a rollout."""
  if config.loss.name == "kl_cov" and config.optimizer.updates == 1:
    warnings.warn(
      "loss.name is 'kl_cov' with optimizer.updates=1: the policy has not "
      "moved since the rollout, |log-ratio| is 0 and the penalty cannot act; "
      "use 2 updates a rollout or more",
      stacklevel=2,
    )


class _Run:
  """One run's folder: what is written there, and where it stands."""

  def __init__(
    self, config: ConfigDict, workdir: Path, trainer: Trainer
  ) -> None:
    self._config, self._workdir, self._trainer = config, workdir, trainer
    self._checkpoints = Checkpoints(
      workdir / build.CHECKPOINTS, config.checkpoint.keep
    )
    self._offset = 0

  def resume(self, state: TrainState) -> tuple[int | None, TrainState]:
    """The step to go on with (None: all done) and the state there."""
    found = self._checkpoints.restore(state)
    if found is None:
      return 0, state
    step, state, host = found
    if step > self._config.steps:
      return None, state
    self._trainer.stream.restore(host["stream"])
    self._offset = host["metrics_offset"]
    _say(f"{self._workdir}: going on at step {step}")
    return step, state

  def steps(
    self, state: TrainState, first: int, preemption: multihost.Preemption
  ) -> int:
    """All steps from `first` on, and the last look at the final policy."""
    config, total = self._config, self._config.steps
    with (
      contextlib.closing(self._checkpoints),
      RunLog(self._workdir, config, self._offset, first) as log,
    ):
      for step in range(first, total + 1):
        state, record = self._step(state, step)
        log.write(record)
        stop = preemption.requested()
        if stop or step == total or (step + 1) % config.checkpoint.every == 0:
          self._save(step + 1, state, log)
        if stop and step < total:
          _say(f"{self._workdir}: stopped after step {step}; run it again")
          return multihost.PREEMPTED
    return 0

  def _step(
    self, state: TrainState, step: int
  ) -> tuple[TrainState, dict[str, Any]]:
    """One rollout with all its updates (none at the last), as one record."""
    config, trainer = self._config, self._trainer
    last = step == config.steps
    watch = Stopwatch()
    record: dict[str, Any] = {"step": step, "time": time.time()}
    if last or (config.eval.every and step % config.eval.every == 0):
      record |= trainer.evaluate(state.params)
      watch.lap("eval")
    everything, kept, informative = trainer.collect(state, step, watch)
    record |= diagnostics.rollout_metrics(everything, kept, informative)
    record["lr"] = float(trainer.schedule(int(state.update)))
    if not last:
      observe = self._observe(state, step, everything)
      before = observe(state.params) if observe else None
      watch.lap("probe")
      state, metrics = trainer.learn(state, kept, step)
      record |= _computed(metrics)
      watch.lap("update")
      if observe:
        after = observe(state.params)
        record |= _floats(probe.dynamics(before, after))
        watch.lap("probe")
      self._stop_if_broken(state, step)
      state, coefficients = trainer.steer(state, record)
      record |= coefficients
    seconds = sum(watch.seconds.values())
    record |= {f"throughput/{k}_s": v for k, v in watch.seconds.items()}
    record["throughput/tokens_per_s"] = everything.tokens / seconds
    return state, record

  def _observe(
    self, state: TrainState, step: int, rollout: Rollout
  ) -> probe.Observe | None:
    """The probe, on states of the run's first rollout; None where it is off."""
    settings = self._config.probe
    if not settings.every or step % settings.every:
      return None
    return self._trainer.observe(
      self._workdir / STATES, settings.states, state, rollout
    )

  def _save(self, records: int, state: TrainState, log: RunLog) -> None:
    """A checkpoint named by the number of records written before it."""
    host = {
      "stream": self._trainer.stream.position(),
      "metrics_offset": log.offset(),
    }
    self._checkpoints.save(records, state, host)

  def _stop_if_broken(self, state: TrainState, step: int) -> None:
    skipped, limit = int(state.skipped), self._config.optimizer.max_skipped
    if skipped >= limit:
      raise FloatingPointError(
        f"step {step}: the last {skipped} updates had a loss or gradient that "
        "was not finite and were skipped; lower optimizer.learning_rate, or "
        f"look at grad_norm and kl/old in {self._workdir / METRICS}"
      )


def _say(message: str) -> None:
  if multihost.is_writer():
    print(message, flush=True)


def _computed(metrics: Metrics) -> dict[str, float]:
  return _floats({name: mean.compute() for name, mean in metrics.items()})


def _floats(values: dict[str, jax.Array]) -> dict[str, float]:
  return {name: float(np.asarray(v)) for name, v in values.items()}
