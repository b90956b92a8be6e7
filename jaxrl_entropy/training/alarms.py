"""Alarms: signs in the latest records that a run goes wrong.

`check` is a pure function of the records. Each alarm names what was observed,
the likely cause, and a setting to try; it is a hint and stops nothing.
"""

from collections.abc import Callable, Sequence
import dataclasses
import math

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.training.writers.base import Record

WINDOW = 20
"""Records that `check` looks at."""

MIN_RECORDS = 8
"""With fewer records, only missing updates are reported."""

_FAST_FALL, _FAST_RISE = 0.5, 1.5  # of the entropy at the window's start
_SATURATED = 0.98  # share of correct responses, or of incorrect ones
_UNINFORMATIVE = 0.2  # share of groups
_TRUNCATED = 0.2  # share of responses
_MISMATCH = 0.05  # nats per token
_SPIKE = 10.0  # times the median gradient norm


@dataclasses.dataclass(frozen=True)
class Alarm:
  """A sign that something is wrong.

  Attributes:
    name: kind of the alarm.
    message: what was observed, and the likely cause.
    setting: configuration fields to change, and how.
  """

  name: str
  message: str
  setting: str


def check(records: Sequence[Record]) -> list[Alarm]:
  """Returns the alarms that the last `WINDOW` records give rise to.

  Args:
    records: metrics, one mapping per step, oldest first.
  """
  window = records[-WINDOW:]
  if not window:
    return []
  checks = (_updates, *(_CHECKS if len(window) >= MIN_RECORDS else ()))
  return [alarm for look in checks if (alarm := look(window))]


def _values(window: Sequence[Record], key: str) -> np.ndarray:
  """Returns the finite values of a metric."""
  values = [record.get(key) for record in window]
  return np.array(
    [v for v in values if v is not None and math.isfinite(v)], float
  )


def _mean(window: Sequence[Record], key: str) -> float:
  values = _values(window, key)
  return float(values.mean()) if len(values) else math.nan


def _entropy(window: Sequence[Record]) -> Alarm | None:
  values = _values(window, run_files.ENTROPY)
  if len(values) < MIN_RECORDS:
    return None
  quarter = len(values) // 4
  start, end = float(values[:quarter].mean()), float(values[-quarter:].mean())
  change = f"entropy went from {start:.3f} to {end:.3f} nats per token"
  steps = f"in {len(values)} steps"
  if end < _FAST_FALL * start:
    return Alarm(
      "entropy_falls_fast",
      f"{change} {steps}; {_cause(window, falling=True)}",
      "a loss that selects tokens by covariance (docs/objectives.md), a higher "
      "loss.args.clip_high, or a lower optimizer.learning_rate",
    )
  if end > _FAST_RISE * start:
    return Alarm(
      "entropy_rises_fast",
      f"{change} {steps}; {_cause(window, falling=False)}",
      "a lower optimizer.learning_rate, fewer rollout.num_minibatches, or a "
      "smaller coefficient of an entropy bonus",
    )
  return None


_QUADRANTS = {
  run_files.LIKELY_REWARDED: "likely tokens of positive advantage",
  run_files.UNLIKELY_PUNISHED: "unlikely tokens of negative advantage",
  run_files.LIKELY_PUNISHED: "likely tokens of negative advantage",
  run_files.UNLIKELY_REWARDED: "unlikely tokens of positive advantage",
}
"""Parts of the mean covariance: two are positive, two are negative."""


def _cause(window: Sequence[Record], falling: bool) -> str:
  """Returns the kind of tokens that adds most to the covariance, in words."""
  sign = 1 if falling else -1
  recorded = {
    name: sign * _mean(window, key)
    for key, name in _QUADRANTS.items()
    if len(_values(window, key))
  }
  contributions = {name: v for name, v in recorded.items() if v > 0}
  if not recorded:
    return "the covariance was not recorded"
  if not contributions:
    return "no part of the covariance has that sign"
  name = max(contributions, key=lambda name: contributions[name])
  share = contributions[name] / sum(contributions.values())
  direction = "falls" if falling else "rises"
  return f"{share:.0%} of the covariance by which it {direction} is of {name}"


def _rewards(window: Sequence[Record]) -> Alarm | None:
  accuracy = _mean(window, run_files.TRAIN_ACCURACY)
  reward = _values(window, run_files.REWARD_MEAN)
  if math.isnan(accuracy) or 1 - _SATURATED < accuracy < _SATURATED:
    return None
  if accuracy < 0.5 and len(reward) and np.ptp(reward) > 1e-3:
    return None  # Graded rewards still tell responses apart.
  if accuracy > 0.5:
    return Alarm(
      "rewards_saturated",
      f"{accuracy:.1%} of responses are correct: the problems are too easy",
      "harder problems in task.args",
    )
  return Alarm(
    "rewards_saturated",
    f"{accuracy:.1%} of responses are correct: the problems are too hard, or "
    "the verifier does not find the answers",
    "easier problems in task.args, sft.steps, or a longer "
    "rollout.max_response_length; read samples.jsonl",
  )


def _groups(window: Sequence[Record]) -> Alarm | None:
  share = _mean(window, run_files.INFORMATIVE_GROUPS)
  if not share < _UNINFORMATIVE:
    return None
  return Alarm(
    "groups_uninformative",
    f"the answers differ in reward within {share:.1%} of the groups only: the "
    "others teach nothing about the task",
    "a larger rollout.group_size, problems of medium difficulty, or "
    "rollout.group_filter='mixed' with more rollout.max_generation_rounds",
  )


def _updates(window: Sequence[Record]) -> Alarm | None:
  """Reports steps in which no response was left to train on."""
  idle = sum(run_files.FILTERED_ENTROPY not in record for record in window)
  if 2 * idle < len(window):
    return None
  return Alarm(
    "no_updates",
    f"{idle} of the last {len(window)} steps made no update: no group passed "
    "rollout.group_filter, or no response rollout.accept",
    "easier problems or sft.steps if all answers are wrong, a larger "
    "rollout.group_size, more rollout.max_generation_rounds, or "
    "rollout.group_filter='all'",
  )


def _truncation(window: Sequence[Record]) -> Alarm | None:
  share = _mean(window, run_files.TRUNCATED)
  if not share > _TRUNCATED:
    return None
  return Alarm(
    "responses_truncated",
    f"{share:.1%} of responses end at the length limit, mostly without an "
    "answer",
    "a larger rollout.max_response_length, or reward.overlong_buffer",
  )


def _mismatch(window: Sequence[Record]) -> Alarm | None:
  gap = _mean(window, run_files.MISMATCH_KL)
  if not abs(gap) > _MISMATCH:
    return None
  return Alarm(
    "sampler_mismatch",
    f"the sampler's log-probabilities differ from the trainer's by {gap:+.3f} "
    "nats per token on average",
    "rollout.weight_dtype='', model.compute_dtype='float32', a smaller "
    "rollout.max_staleness, or rollout.recompute_old_logp=True",
  )


def _gradients(window: Sequence[Record]) -> Alarm | None:
  norms = _values(window, run_files.GRADIENT_NORM)
  if len(norms) >= MIN_RECORDS:
    usual = float(np.median(norms[:-1]))
    if usual > 0 and norms[-1] > _SPIKE * usual:
      return Alarm(
        "gradient_spike",
        f"the gradient norm is {norms[-1]:.3g}, {norms[-1] / usual:.0f} times "
        "its median over the last steps",
        "a lower optimizer.learning_rate or optimizer.grad_clip",
      )
  return None


_PHASES = {
  # Phase: largest share of a step's time that is no reason for an alarm, and
  # the settings that shorten it.
  "evaluate": (0.5, "a larger eval.every, or fewer eval.problems"),
  "checkpoint": (0.4, "a larger checkpoint.every, or a faster disk"),
  "probe": (0.4, "a larger probe.every, or fewer probe.states"),
  "verify": (0.4, "more reward.workers, or a lower reward.timeout"),
  "sample": (
    0.9,
    "more rollout.slots, a larger rollout.kv_tokens, or "
    "rollout.max_staleness=1 with rollout.devices",
  ),
  "wait": (0.6, "more rollout.devices, or a larger rollout.max_staleness"),
  "update": (0.9, "fewer optimizer.micro_batches, or rollout.pack=True"),
}


def _phases(window: Sequence[Record]) -> Alarm | None:
  """Finds a phase that takes most of the time while the others wait."""
  # The last step has an evaluation of its own, and no update beside it.
  window = [record for record in window if run_files.GRADIENT_NORM in record]
  prefix, suffix = run_files.THROUGHPUT, "_s"
  names = {
    key.removeprefix(prefix).removesuffix(suffix)
    for record in window
    for key in record
    if key.startswith(prefix) and key.endswith(suffix) and "_per_" not in key
  }
  seconds = {
    name: float(_values(window, f"{prefix}{name}{suffix}").sum())
    for name in names
  }
  total = sum(seconds.values())
  for name, (limit, setting) in _PHASES.items():
    if total > 0 and seconds.get(name, 0.0) > limit * total:
      return Alarm(
        "phase_dominates",
        f"{name} takes {seconds[name] / total:.0%} of the time of a step; "
        "everything else waits for it",
        setting,
      )
  return None


_CHECKS: tuple[Callable[[Sequence[Record]], Alarm | None], ...] = (
  *(_entropy, _rewards, _groups, _truncation),
  *(_mismatch, _gradients, _phases),
)
