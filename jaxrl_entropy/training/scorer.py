"""Log-probs, entropies and other statistics of a rollout's tokens."""

from collections.abc import Collection, Sequence
import dataclasses

import numpy as np

from jaxrl_entropy.training.auxiliary.base import Role
from jaxrl_entropy.training.forward import ForwardPass
from jaxrl_entropy.training.layout import Layout, score_of
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.training.state import TrainState
from jaxrl_entropy.training.teacher import Teacher


class Scorer:
  """Runs the models of a run over a rollout, before any update."""

  def __init__(
    self,
    forward: ForwardPass,
    layout: Layout,
    roles: Sequence[Role],
    needs: Collection[str],
    recompute_old_logp: bool,
    teacher: Teacher | None = None,
  ) -> None:
    """Compiles nothing yet.

    Args:
      forward: the policy's forward pass.
      layout: of the rows.
      roles: models beside the policy.
      needs: fields that the objective and the estimator read.
      recompute_old_logp: whether `old_logp` is the trainer's or the sampler's.
      teacher: gives `teacher_logp`; None: no part of the method reads it.
    """
    self._layout, self._roles = layout, roles
    self._reference = "ref_logp" in needs
    self._recompute, self._teacher = recompute_old_logp, teacher
    self._policy_score = score_of(forward)
    self._role_scores = {r.name: score_of(r.forward) for r in roles}

  def add_logprobs(self, state: TrainState, rollout: Rollout) -> Rollout:
    """Returns the rollout with the statistics of its tokens as signals.

    Adds `logp`, `entropy`, `old_logp`, what else the forward pass computes,
    `ref_logp` of the reference, `teacher_logp` and the signals of the auxiliary
    models; the outcome `embedding` where the forward pass computes it.

    Args:
      state: the policy, its reference and the auxiliary models.
      rollout: the responses of a step, any number of them.
    """
    slices = [
      self._statistics(state, slice_) for slice_ in self._slices(rollout)
    ]
    signals = {
      name: np.concatenate([statistics[name] for statistics in slices])
      for name in slices[0]
    }
    if "embedding" in signals:
      outcomes = rollout.outcomes | {"embedding": signals.pop("embedding")}
      rollout = dataclasses.replace(rollout, outcomes=outcomes)
    signals["old_logp"] = (
      signals["logp"] if self._recompute else rollout.signals["sampler_logp"]
    )
    rollout = rollout.with_signals(**signals)
    for role in self._roles:
      rollout = role.summarize(rollout)
    return rollout

  def entropy(self, state: TrainState, rollout: Rollout) -> np.ndarray:
    """Returns the entropy of the policy at a rollout's tokens, [N, T] nats.

    Args:
      state: the policy, which need not be the one that sampled.
      rollout: the responses of a step.
    """
    slices = [
      self._layout.score(self._policy_score, state.params, slice_)["entropy"]
      for slice_ in self._slices(rollout)
    ]
    return np.concatenate(slices)

  def _slices(self, rollout: Rollout) -> list[Rollout]:
    """Returns parts of at most `layout.capacity` responses."""
    size, total = self._layout.capacity, len(rollout.responses)
    return [
      rollout.select(np.arange(i, min(i + size, total)))
      for i in range(0, total, size)
    ]

  def _statistics(
    self, state: TrainState, rollout: Rollout
  ) -> dict[str, np.ndarray]:
    """Returns [N, T] statistics of at most `layout.capacity` responses."""
    signals = self._layout.score(self._policy_score, state.params, rollout)
    if self._reference:
      reference = self._layout.score(
        self._policy_score, state.roles["reference"], rollout
      )
      signals["ref_logp"] = reference["logp"]
    if self._teacher is not None:
      informed = self._teacher.layout.score(
        self._policy_score, state.params, self._teacher.informed(rollout)
      )
      signals["teacher_logp"] = informed["logp"]
    for role in self._roles:
      params = state.roles[role.name].params
      score = self._role_scores[role.name]
      signals |= role.signals(self._layout.score(score, params, rollout))
    return signals
