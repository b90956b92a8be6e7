"""PRIME's reward model: a decoder whose log-ratios reward every token.

It starts as the policy's first parameters and learns, from the responses that
the policy learns from, to tell right from wrong (Cui et al. 2025, arXiv
2502.01456). A rollout is rewarded by the model as it was before it learned from
that rollout (`update=after` in the authors' recipe).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict
import numpy as np
import optax

from jaxrl_entropy.ops import implicit_reward as ops, masked
from jaxrl_entropy.training import state as state_lib
from jaxrl_entropy.training.roles import Role, copied
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.training.step import Forward, Objective
from jaxrl_entropy.types import Mean, Metrics, TokenBatch


def reward_model_loss(kind: str, beta: float) -> Objective:
  """How badly the score beta sum_t log(rm / ref) tells right from wrong.

  `cross_entropy` reads sigmoid(score) as the probability of being right,
  `pairwise` as that of beating the responses of the group that are opposed.
  The batch's `returns` carry the label of its response (0 to 1) at each token,
  its `old_values` the score to beat. Metric: `accuracy`, the share of responses
  on the right side of 0.

  Raises:
    ValueError: for another kind.
  """
  if kind not in ("cross_entropy", "pairwise"):
    raise ValueError(
      f"implicit_reward.loss is {kind!r}; use 'cross_entropy' or 'pairwise'"
    )

  def objective(
    batch: TokenBatch, key: Key[Array, ""]
  ) -> tuple[Float[Array, ""], Metrics]:
    del key

    def per_response(x: Float[Array, "B T"]) -> Float[Array, " R"]:
      x = masked.guard(x, batch.mask)
      return masked.segment_sum(x, batch.response, batch.num_responses)

    length = per_response(jnp.ones_like(batch.logp))
    present, divisor = length > 0, jnp.maximum(length, 1.0)
    label = per_response(batch.returns) / divisor
    score = beta * per_response(batch.logp - batch.ref_logp)
    if kind == "cross_entropy":
      losses = ops.cross_entropy(score, label)
    else:
      rival = per_response(batch.old_values) / divisor
      losses = ops.pairwise(score, label, rival)
    right = ((score > 0) == (label > 0.5)) & present
    metrics = {
      "accuracy": Mean(
        right.sum().astype(jnp.float32), present.sum().astype(jnp.float32)
      )
    }
    return masked.masked_mean(losses, present), metrics

  return objective


def lesson(beta: float) -> Callable[[Rollout], Rollout]:
  """Puts the label of each response and the score to beat at its tokens."""

  def prepare(rollout: Rollout) -> Rollout:
    label = rollout.correct.astype(np.float32)
    q = rollout.signals["implicit_logp"] - rollout.signals["ref_logp"]
    score = beta * np.where(rollout.mask, q, 0).sum(1)
    together = rollout.groups[:, None] == rollout.groups
    rival = ops.rival_score(
      jnp.asarray(label),
      jnp.asarray(np.broadcast_to(score, together.shape)),
      # A response of another group is no rival: it is as right as the own.
      jnp.asarray(np.where(together, label, label[:, None])),
    )
    shape = rollout.mask.shape
    return rollout.with_signals(
      returns=np.broadcast_to(label[:, None], shape),
      old_values=np.broadcast_to(np.asarray(rival)[:, None], shape),
    )

  return prepare


def process_rewards(settings: ConfigDict) -> Callable[[Rollout], Rollout]:
  """Adds `process_rewards` to a rollout scored by both models."""

  @jax.jit
  def rewards(q: jax.Array, mask: jax.Array, correct: jax.Array) -> jax.Array:
    raw = ops.implicit_rewards(
      q,
      mask,
      beta=settings.beta,
      lam=settings.lam,
      accuracy=correct if settings.sum_to_outcome else None,
    )
    return ops.normalize(raw) if settings.normalize else raw

  def summarize(rollout: Rollout) -> Rollout:
    q = rollout.signals["implicit_logp"] - rollout.signals["ref_logp"]
    correct = rollout.correct.astype(np.float32)
    return rollout.with_signals(
      process_rewards=np.asarray(rewards(q, rollout.mask, correct))
    )

  return summarize


def implicit_reward(config: ConfigDict, forward: Forward) -> Role:
  """The reward model of `config.implicit_reward`.

  Args:
    config: the whole configuration.
    forward: how the policy's decoder is run.
  """
  settings = config.implicit_reward
  return Role(
    name="implicit_reward",
    forward=forward,
    objective=reward_model_loss(settings.loss, settings.beta),
    optimizer=state_lib.make_optimizer(
      config.optimizer, optax.constant_schedule(settings.learning_rate)
    ),
    start=copied,
    observe=lambda statistics: {"implicit_logp": statistics["logp"]},
    summarize=process_rewards(settings),
    lesson=lesson(settings.beta),
    reads=("ref_logp", "returns", "old_values", "old_logp", "advantages"),
    reports=("accuracy",),
  )
