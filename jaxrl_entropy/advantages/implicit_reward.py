"""Implicit process rewards: a reward model that is a language model.

A model trained so that beta sum_t log(rm / ref) predicts whether a response is
right gives every token a reward, beta log(rm / ref): PRIME (Cui et al. 2025,
arXiv 2502.01456). `q` is the log-ratio log rm(y_t) - log ref(y_t), in nats.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxrl_entropy.advantages.base import last_token
from jaxrl_entropy.advantages.tokenwise import reward_to_go
from jaxrl_entropy.ops import masked


def implicit_rewards(
  q: Float[Array, "N T"],
  mask: Bool[Array, "N T"],
  *,
  beta: float = 0.05,
  lam: float = 0.0,
  accuracy: Float[Array, "N"] | None = None,
) -> Float[Array, "N T"]:
  """The process reward of each token; 0 at the last one, and at masked ones.

  Args:
    q: log-ratios.
    mask: True at response tokens.
    beta: weight of the log-ratio.
    lam: r_t = beta q_t + lam r_{t+1}.
    accuracy: makes each response's rewards add up to its accuracy, by what its
      last token gets (seen by earlier ones if `lam` > 0).
  """
  last = last_token(mask)
  rewards = beta * masked.guard(q, mask)
  if accuracy is not None:
    earlier = masked.guard(rewards, ~last).sum(1)
    rewards = jnp.where(last, (accuracy - earlier)[:, None], rewards)
  return masked.guard(reward_to_go(rewards, mask, lam), mask & ~last)


def normalize(rewards: Float[Array, "N T"]) -> Float[Array, "N T"]:
  """Rewards over the largest |reward-to-go| of the batch (plus 1e-6).

  Args:
    rewards: of each token, 0 at masked positions.
  """
  to_go = jnp.cumsum(rewards[:, ::-1], axis=1)
  return rewards / (jnp.abs(to_go).max() + 1e-6)


def cross_entropy(
  score: Float[Array, "N"], accuracy: Float[Array, "N"]
) -> Float[Array, "N"]:
  """-log-likelihood of `accuracy` (0 to 1) under sigmoid(score), nats.

  Args:
    score: beta sum_t q_t of each response.
    accuracy: whether the response is right, or how far.
  """
  return jax.nn.softplus(score) - accuracy * score


def rival_score(
  accuracy: Float[Array, "N"],
  others_score: Float[Array, "N G"],
  others_accuracy: Float[Array, "N G"],
) -> Float[Array, "N"]:
  """Returns the mean score of the responses opposed to each response.

  A right response is opposed by the less right ones of its group, a wrong one
  by the more right ones; where there is none, by 0.

  Args:
    accuracy: of each response.
    others_score: scores of the responses of its group, itself among them.
    others_accuracy: their accuracies.
  """
  own = accuracy[:, None]
  opposed = jnp.where(own > 0, others_accuracy < own, others_accuracy > own)
  count = jnp.maximum(opposed.sum(1), 1).astype(accuracy.dtype)
  return masked.guard(others_score, opposed).sum(1) / count


def pairwise(
  score: Float[Array, "N"],
  accuracy: Float[Array, "N"],
  rival: Float[Array, "N"],
) -> Float[Array, "N"]:
  """-log sigmoid of a right response's lead over its rival, a wrong one's lag.

  Args:
    score: beta sum_t q_t of each response. Carries the gradient.
    accuracy: of each response.
    rival: `rival_score`, a constant.
  """
  lead = jnp.where(accuracy > 0, score - rival, rival - score)
  return jax.nn.softplus(-lead)


def best_of_n_weight(
  x: Float[Array, "N"], others: Float[Array, "N G"]
) -> Float[Array, "N"]:
  """G (share of the group not above x)^(G - 1): the density of best-of-G.

  Args:
    x: accuracy or score of each response.
    others: those of the G responses of its group, itself among them; NaN stands
      for none.
  """
  size = (~jnp.isnan(others)).sum(1).astype(x.dtype)
  share = (others <= x[:, None]).sum(1).astype(x.dtype) / size
  return size * share ** (size - 1.0)


def pair_accuracy(
  score: Float[Array, "N"],
  accuracy: Float[Array, "N"],
  groups: Int[Array, "N"],
) -> Float[Array, ""]:
  """How often the better response of a pair has the larger score.

  Pairs within a group, weighted by their difference in accuracy; equal scores
  agree by half. The mean over groups, a group without a difference counting
  0.5.

  Args:
    score: implicit reward of each response, nats times beta.
    accuracy: verdict on each response, 0 to 1.
    groups: id of each response's group, in [0, N).

  Returns:
    A share in [0, 1]; 0.5 is chance.
  """
  rows = len(groups)
  gap = accuracy[:, None] - accuracy[None]
  lead = jnp.sign(score[:, None] - score[None])
  pairs = jnp.triu(groups[:, None] == groups[None], 1)
  weight = masked.guard(jnp.abs(gap), pairs)
  agreed = masked.guard(weight * (1 + jnp.sign(gap) * lead) / 2, weight > 0)

  def per_group(x: jax.Array) -> jax.Array:
    return jax.ops.segment_sum(x.sum(1), groups, rows)

  total = per_group(weight)
  share = jnp.where(
    total > 0, per_group(agreed) / jnp.where(total > 0, total, 1.0), 0.5
  )
  present = jax.ops.segment_max(jnp.ones(rows), groups, rows) > 0
  return masked.masked_mean(share, present)
