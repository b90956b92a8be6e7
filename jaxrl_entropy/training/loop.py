"""The RL training loop: sample, verify, score, update, log, checkpoint."""

from collections.abc import Callable, Mapping
import contextlib
import dataclasses
from pathlib import Path
import shlex
import time
from typing import Any
import warnings

import jax
from ml_collections import ConfigDict
import numpy as np

from jaxrl_entropy import config as config_lib, distributed, paths, run_files
from jaxrl_entropy.data.stream import PromptStream
from jaxrl_entropy.data.task import Task
from jaxrl_entropy.data.tasks import listed
from jaxrl_entropy.distributed import Preemption
from jaxrl_entropy.errors import PREEMPTED, PreemptedError
from jaxrl_entropy.models import lora
from jaxrl_entropy.rewards import references
from jaxrl_entropy.rewards.pool import RewardPool
from jaxrl_entropy.rewards.settings import make_pool, make_shaping
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.training import (
  algorithm as algorithm_lib,
  build,
  filters,
  memory,
  pending,
  probe as probe_lib,
  rollout as rollout_lib,
  rollout_metrics,
  rollout_rewards,
  sample_log,
  sft,
  start,
  throughput,
  token_probe,
)
from jaxrl_entropy.training.algorithm import Algorithm
from jaxrl_entropy.training.backlog import make_quota
from jaxrl_entropy.training.checkpoint import BestPolicies, Checkpoints
from jaxrl_entropy.training.collector import Collector, Snapshot
from jaxrl_entropy.training.grader import Grader, make_collection
from jaxrl_entropy.training.held_out import (
  evaluate_policy,
  stop_if_nothing_judged,
)
from jaxrl_entropy.training.layout import make_layout
from jaxrl_entropy.training.learner import Learner, learner_settings
from jaxrl_entropy.training.lease import lease_for_job
from jaxrl_entropy.training.policy import (
  BEST,
  CHECKPOINTS,
  Policy,
  build_policy,
  load_teacher,
)
from jaxrl_entropy.training.producer import Producer
from jaxrl_entropy.training.profile import Profiler
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.training.run_log import METRICS, RunLog
from jaxrl_entropy.training.scorer import Scorer
from jaxrl_entropy.training.state import TEACHER, TrainState
from jaxrl_entropy.training.step_file import StepFile
from jaxrl_entropy.training.stopwatch import Stopwatch
from jaxrl_entropy.training.teacher import make_teacher
from jaxrl_entropy.types import Params

CHECKED = 10_000
"""Problems of a data set whose verifiers are tried at the start."""


def train(config: ConfigDict, workdir: str | Path) -> int:
  """Runs `config` in `workdir`, from its last checkpoint if there is one.

  Record `k` of the metrics file describes the policy after `k` steps and the
  updates made from its rollout; the last one, `config.steps`, has no updates.

  Args:
    config: of the run; it is completed in place.
    workdir: folder of the run, local to the machine; made if need be.

  Returns:
    Exit status: 0, or `errors.PREEMPTED` after SIGTERM or SIGINT; the same
    call then goes on where this one stopped.

  Raises:
    UserError: for settings that do not fit together.
    FloatingPointError: after too many updates in a row that are not finite.
  """
  workdir = paths.local_folder(workdir, "workdir")
  config_lib.finalize(config)
  config_lib.warn_if_idle(config)
  algorithm = algorithm_lib.resolve(config)
  mesh, sampler_mesh = build.make_meshes(config)
  policy = build_policy(config, mesh)
  task = build.build_task(config, policy.tokenizer)
  guide = None
  if "teacher_kl" in algorithm.needs:
    guide = load_teacher(config, policy)
  memory.check_training(config.optimizer.name, policy.params)
  sampler = build.build_sampler(
    config, policy.model, sampler_mesh, config.model.routing_replay, tried=True
  )
  for split in ("train", "test"):
    for problems in listed.fixed(task, split):
      references.report(problems, split)
  with (
    jax.set_mesh(policy.mesh),
    Preemption() as preemption,
    _make_checked_pool(config, task) as pool,
    lease_for_job(workdir) as check_lease,
    start.nothing_left(workdir, check_lease),
  ):
    # Only a config that can run gets here: a refused one leaves nothing behind.
    tied = start.tied_to_steps(config, algorithm.needs)
    distributed.on_writer(lambda: config_lib.save(config, workdir, tied))
    run = _Run(
      config,
      workdir,
      policy,
      guide,
      task,
      algorithm,
      sampler,
      pool,
      check_lease,
    )
    step, state = run.resume(guide.params if guide else None)
    if step > config.steps:
      distributed.say(f"{workdir}: all {config.steps} steps are done")
      return 0
    distributed.say(start.describe(config, policy, task))
    if step == 0 and sft.wanted(config):
      tuned = sft.fine_tuned_params(config, policy, task, workdir, preemption)
      state = run.learner.init(tuned, state.roles.get(TEACHER))
    return run.steps(state, step, preemption)


def _make_checked_pool(config: ConfigDict, task: Task) -> RewardPool:
  """Returns the run's rewards, tried before anything is generated."""
  pool = make_pool(config.reward.to_dict())
  pool.check(listed.some(task, "train", CHECKED))
  return pool


class _Run:
  """The parts of one run, its folder, and where it stands."""

  def __init__(
    self,
    config: ConfigDict,
    workdir: Path,
    policy: Policy,
    guide: Policy | None,
    task: Task,
    algorithm: Algorithm,
    sampler: Sampler,
    pool: RewardPool,
    check_lease: Callable[[], None],
  ) -> None:
    self._config, self._workdir = config, workdir
    self._check_lease = check_lease
    self._policy, self._task = policy, task
    self._sampler, self._pool = sampler, pool
    self._eval_sampler = sampler
    layout = make_layout(config, policy.mesh)
    forward, scoring = build.build_passes(
      config, policy, guide, algorithm.needs, layout
    )
    roles = build.build_roles(config, forward, algorithm.needs)
    self._algorithm = algorithm
    stream = PromptStream(
      task, config.seed, jax.process_index(), jax.process_count()
    )
    collection = make_collection(config, "baseline_rewards" in algorithm.needs)
    shape = make_shaping(config.reward, layout.response_length)
    grader = Grader(collection, policy, pool, shape)
    self._collector = Collector(grader, stream, sampler)
    self._producer: Producer | None = None
    if config.rollout.max_staleness:
      quota = make_quota(config)
      self._producer = Producer(grader, stream, sampler, quota)
      # The other one is in use all the time.
      self._eval_sampler = build.build_sampler(
        config, policy.model, policy.mesh, tried=True
      )
    teacher = None
    if "teacher_logp" in algorithm.needs:
      teacher = make_teacher(config, policy.tokenizer, layout)
    self._scorer = Scorer(
      scoring,
      layout,
      roles,
      algorithm.needs,
      config.rollout.recompute_old_logp,
      teacher,
    )
    self._rollout_reward = rollout_rewards.resolve(
      config.reward.rollout.name, config.reward.rollout.args
    )
    self._filter = filters.make_group_filter(config.rollout)
    self.learner = Learner(
      learner_settings(config),
      algorithm,
      roles,
      forward,
      layout,
    )
    self._probe = probe_lib.Probe(
      workdir / run_files.PROBE_STATES,
      config.probe.states,
      layout.row_length,
      forward,
      policy.mesh,
    )
    saving = config.checkpoint
    self._checkpoints = Checkpoints(
      workdir / CHECKPOINTS, saving.keep, exclusive=True
    )
    self._best = BestPolicies(workdir / BEST, saving.keep_best, saving.best_by)
    self._samples = StepFile(workdir / run_files.SAMPLES)
    self._profiler = Profiler(
      workdir / run_files.PROFILE, config.log.profile_steps
    )
    self._offset = 0
    self._saved = 0

  @property
  def _source(self) -> Collector | Producer:
    """The owner of the groups that no step has used yet."""
    return self._producer or self._collector

  def resume(self, teacher: Params | None) -> tuple[int, TrainState]:
    """Returns the next step and its state; both are fresh in a new folder.

    A finished run's step is beyond `config.steps`. The teacher's parameters
    are read again, not from the checkpoint.
    """
    state = self.learner.init(self._policy.params, teacher)
    restored = self._checkpoints.restore(state)
    if restored is None:
      return 0, state
    self._saved = step = restored.step
    position = restored.host
    if step <= self._config.steps and "before_last" in position:
      # The run was done and has more steps now. Its last record was of a step
      # without updates, which is made again; the checkpoint after it stays.
      step, position = step - 1, position["before_last"]
    self._collector.stream.restore(position["stream"])
    self._offset = position["metrics_offset"]
    self._source.resume_pending(pending.decode(restored.carried))
    if step <= self._config.steps:
      distributed.say(f"{self._workdir}: going on at step {step}")
    return step, restored.state

  def steps(self, state: TrainState, first: int, preemption: Preemption) -> int:
    """Runs all steps from `first` on, and the last evaluation."""
    config, total = self._config, self._config.steps
    # From here on: what came before, such as SFT, is no step's time.
    self._watch = Stopwatch()
    if distributed.is_writer():
      self._samples.cut(first)
    with (
      contextlib.closing(self._checkpoints),
      contextlib.closing(self._best),
      contextlib.closing(self._profiler),
      contextlib.closing(self._producer or contextlib.ExitStack()),
      RunLog(self._workdir, config, self._offset, first) as log,
    ):
      if self._producer is not None and first < total:
        self._producer.start(state, first)
      for step in range(first, total + 1):
        before: dict[str, Any] = {}
        if step == total:
          if self._producer is not None:
            self._producer.close()
          before = self._position(log, self._source.snapshot())
        self._profiler.before(step)
        try:
          state, record = self._step(state, step, preemption)
        except PreemptedError:
          # In its evaluation, before anything has changed.
          self._save(step, state, log, {})
          return self._stopped(step)
        self._profiler.after(step)
        self._check_lease()
        log.write(record)
        self._stop_if_broken(state, step)
        stop = preemption.requested()
        if stop or step == total or _due(step + 1, config.checkpoint.every):
          last = {"before_last": before} if step == total else {}
          self._save(step + 1, state, log, last)
        if stop and step < total:
          return self._stopped(step + 1)
    distributed.say(
      f"{self._workdir}: done; for a report: jaxrl-entropy analyze --workdir="
      f"{shlex.quote(str(self._workdir))}"
    )
    return 0

  def _stopped(self, step: int) -> int:
    """Returns the exit status of a run that goes on with `step` later."""
    distributed.say(
      f"{self._workdir}: stopped before step {step}; run it again"
    )
    return PREEMPTED

  def _step(
    self, state: TrainState, step: int, preemption: Preemption
  ) -> tuple[TrainState, dict[str, Any]]:
    """Runs one rollout with its updates (none at the last); logs a record.

    Raises:
      PreemptedError: at every process, during the evaluation.
    """
    config, last = self._config, step == self._config.steps
    watch = self._watch
    record: dict[str, Any] = {
      "step": step,
      "time": time.time(),
      run_files.PARAMETERS: _size(lora.split(state.params)[0]),
    }
    if last or _due(step, config.eval.every):
      policy = dataclasses.replace(self._policy, params=state.params)
      evaluation = evaluate_policy(
        config,
        policy,
        self._task,
        self._eval_sampler,
        self._pool,
        preemption,
        last,
      )
      record |= {
        f"{run_files.HELD_OUT}{k}": v for k, v in evaluation.table.items()
      }
      self._check_lease()
      self._best.offer(step, state.params, record)
      watch.lap("evaluate")
    rollout = self._take_rollout(state, step, record)
    stop_if_nothing_judged(self._pool)
    if (notice := self._pool.notice()) is not None:
      warnings.warn(notice, stacklevel=2)
    record |= rollout_metrics.staleness_metrics(rollout, step)
    rollout = self._scorer.add_logprobs(state, rollout)
    watch.lap("add_logprobs")
    rollout = self._add_advantages(rollout, step / config.steps)
    watch.lap("add_advantages")
    kept = self._filter(rollout, step / config.steps)
    record |= rollout_metrics.rollout_metrics(rollout, kept)
    watch.lap("select_groups")
    if _due(step, config.log.samples_every) and distributed.is_writer():
      self._samples.append(
        sample_log.describe(
          rollout, self._policy.tokenizer, step, config.loss.args
        )
      )
    record[run_files.LEARNING_RATE] = float(
      self.learner.schedule(int(state.update))
    )
    if not last:
      probing = _due(step, config.probe.every)
      before = self._probe.before(state, rollout) if probing else None
      watch.lap("probe")
      record |= self.learner.coefficients(state)
      state, metrics = self.learner.update(state, kept, step)
      record |= metrics
      watch.lap("update")
      if self._producer is not None and step + 1 < config.steps:
        self._producer.publish(state.params, step + 1)
        watch.lap("publish")
      if before is not None:
        record |= _floats(self._probe.changes(state, before))
        record |= self._compare_rules(state, kept)
        watch.lap("probe")
      state = self.learner.update_controllers(state, record)
    record |= self._rates(watch, rollout, kept, state)
    record |= distributed.sum_over_hosts(self._pool.metrics())
    record |= self._sampler.metrics()
    return state, record

  def _compare_rules(
    self, state: TrainState, kept: Rollout
  ) -> dict[str, float]:
    """Returns `predictors/*` and `picks/*` after the updates from `kept`."""
    fraction = self._config.probe.token_fraction
    if not (fraction and kept.tokens):
      return {}
    after = self._scorer.entropy(state, kept)
    return token_probe.compare_rules(kept, after, fraction)

  def _rates(
    self, watch: Stopwatch, rollout: Rollout, kept: Rollout, state: TrainState
  ) -> dict[str, float]:
    """Returns `throughput/*` of a step and of the checkpoint before it."""
    mesh = self._policy.mesh
    trained = len(kept.responses) if "update" in watch.seconds else 0
    pairs = zip(kept.prompts, kept.responses, strict=True)
    lengths = [len(p) + len(r) for p, r in pairs][:trained]
    flops = throughput.training_flops(self._policy.model, state.params, lengths)
    devices = {"sample": self._sampler.mesh.size, "update": mesh.size}
    metrics = throughput.rates(
      watch.seconds, rollout.tokens, lengths, flops, devices
    )
    self._watch = Stopwatch()
    return metrics

  def _add_advantages(self, rollout: Rollout, progress: float) -> Rollout:
    reward = self._config.reward
    rollout = rollout_rewards.add_reward(rollout, self._rollout_reward)
    rollout = rollout_lib.estimate_advantages(
      rollout,
      self._algorithm.estimator,
      progress=progress,
      kl_coefficient=reward.kl_coefficient,
      kl_kind=reward.kl_kind,
    )
    return rollout_lib.with_facts(rollout, self._algorithm.needs)

  def _take_rollout(
    self, state: TrainState, step: int, record: dict[str, Any]
  ) -> Rollout:
    """Returns this step's rollout; notes in the record how it came about.

    The last one, which nothing learns from, is always of the policy at hand.
    """
    if self._producer is None or step == self._config.steps:
      return self._collector.collect(state, step, self._watch)
    produced = self._producer.take()
    record |= produced.metrics
    self._watch.lap("wait")
    return produced.rollout

  def _position(self, log: RunLog, snapshot: Snapshot) -> dict[str, Any]:
    """Returns the host's state between two steps."""
    return {"stream": snapshot.position, "metrics_offset": log.offset()}

  def _save(
    self, records: int, state: TrainState, log: RunLog, more: Mapping[str, Any]
  ) -> None:
    """Saves a checkpoint named by the number of records written before it."""
    if records <= self._saved:
      return
    self._check_lease()
    snapshot = self._source.snapshot()
    position = {**self._position(log, snapshot), **more}
    carried = pending.encode(snapshot.groups)
    self._checkpoints.save(records, state, position, carried)
    self._saved = records
    self._watch.lap("checkpoint")

  def _stop_if_broken(self, state: TrainState, step: int) -> None:
    skipped, limit = int(state.skipped), self._config.optimizer.max_skipped
    if skipped >= limit:
      raise FloatingPointError(
        f"step {step}: the last {skipped} updates had a loss or gradient that "
        "was not finite and were skipped; lower optimizer.learning_rate, or "
        f"look at grad_norm and kl/old in {self._workdir / METRICS}"
      )


def _size(tree: Params) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _due(step: int, every: int) -> bool:
  return every > 0 and step % every == 0


def _floats(values: dict[str, jax.Array]) -> dict[str, float]:
  return {name: float(np.asarray(v)) for name, v in values.items()}
