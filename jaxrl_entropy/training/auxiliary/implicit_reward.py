"""The implicit reward model: a decoder whose log-ratios reward every token.

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

from jaxrl_entropy.advantages import implicit_reward as ops
from jaxrl_entropy.ops import masked
from jaxrl_entropy.training import state as state_lib
from jaxrl_entropy.training.auxiliary.base import Role, copied
from jaxrl_entropy.training.forward import Forward
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.training.update import Objective
from jaxrl_entropy.types import Mean, Metrics, TokenBatch


def reward_model_loss(kind: str, beta: float) -> Objective:
  """Returns the loss of beta sum_t log(rm / ref) as a score of correctness.

  `cross_entropy` reads sigmoid(score) as the probability of being right,
  `pairwise` as that of beating the responses of the group that are opposed.
  Each token carries what is known of its response: `returns` its label (0 to
  1), `old_values` the score to beat, `advantages` its weight. Metric:
  `accuracy`, the share of responses on the right side of 0.

  Args:
    kind: "cross_entropy" or "pairwise".
    beta: nats of log-ratio are multiplied by this.

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

    def total(x: Float[Array, "B T"]) -> Float[Array, " R"]:
      x = masked.guard(x, batch.mask)
      return masked.segment_sum(x, batch.response, batch.num_responses)

    length = total(jnp.ones_like(batch.logp))
    present = length > 0

    def mean(x: Float[Array, "B T"]) -> Float[Array, " R"]:
      return total(x) / jnp.maximum(length, 1.0)

    label, weight = mean(batch.returns), mean(batch.advantages)
    score = beta * total(batch.logp - batch.ref_logp)
    if kind == "cross_entropy":
      losses = ops.cross_entropy(score, label)
    else:
      losses = ops.pairwise(score, label, mean(batch.old_values))
    right = ((score > 0) == (label > 0.5)) & present
    metrics = {
      "accuracy": Mean(
        right.sum().astype(jnp.float32), present.sum().astype(jnp.float32)
      )
    }
    return masked.masked_mean(weight * losses, present), metrics

  return objective


def targets(beta: float, best_of_n: str = "") -> Callable[[Rollout], Rollout]:
  """Puts at the tokens of each response its label, score to beat and weight.

  Args:
    beta: of the score.
    best_of_n: what a response has to be the best of its group in, to weigh more
      than others: "accuracy", "score", or "" (all weigh 1). As in the authors'
      recipe (`bon_acc`, `bon_rm`).

  Raises:
    ValueError: for another `best_of_n`.
  """
  if best_of_n not in ("", "accuracy", "score"):
    raise ValueError(
      f"implicit_reward.best_of_n is {best_of_n!r}; use 'accuracy', 'score' "
      "or ''"
    )

  def prepare(rollout: Rollout) -> Rollout:
    label = rollout.correct.astype(np.float32)
    score = beta * response_score(rollout)
    together = rollout.groups[:, None] == rollout.groups
    rival = ops.rival_score(
      jnp.asarray(label),
      jnp.asarray(np.broadcast_to(score, together.shape)),
      # A response of another group is no rival: it is as right as the own.
      jnp.asarray(np.where(together, label, label[:, None])),
    )
    weight = np.ones_like(label)
    if best_of_n:
      x = label if best_of_n == "accuracy" else score
      others = np.where(together, x, np.float32(np.nan))
      best = ops.best_of_n_weight(jnp.asarray(x), jnp.asarray(others))
      weight = np.asarray(best)

    def spread(x: jax.typing.ArrayLike) -> np.ndarray:
      return np.broadcast_to(np.asarray(x)[:, None], rollout.mask.shape)

    return rollout.with_signals(
      returns=spread(label), old_values=spread(rival), advantages=spread(weight)
    )

  return prepare


def response_score(rollout: Rollout) -> np.ndarray:
  """Returns sum_t log(rm / ref) of each response, float32 [N].

  Args:
    rollout: with the signals `implicit_logp` and `ref_logp`.

  Returns:
    Scores without beta, nats.
  """
  q = rollout.signals["implicit_logp"] - rollout.signals["ref_logp"]
  return np.where(rollout.mask, q, 0).sum(1)


def pair_accuracy(rollout: Rollout) -> float:
  """Returns the share of pairs in a group that the score ranks correctly."""
  return float(
    ops.pair_accuracy(
      jnp.asarray(response_score(rollout)),
      jnp.asarray(rollout.correct.astype(np.float32)),
      jnp.asarray(rollout.groups),
    )
  )


def process_rewards(settings: ConfigDict) -> Callable[[Rollout], Rollout]:
  """Adds `process_rewards` to a rollout scored by both models.

  Args:
    settings: the section `implicit_reward`.
  """

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
  """Returns the reward model of `config.implicit_reward`.

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
    signals=lambda statistics: {"implicit_logp": statistics["logp"]},
    summarize=process_rewards(settings),
    targets=targets(settings.beta, settings.best_of_n),
    inputs=("ref_logp", "returns", "old_values", "old_logp", "advantages"),
    reports=("accuracy",),
  )
