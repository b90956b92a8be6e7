"""The interface of advantage estimators, and the math they share."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any, NamedTuple

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
import numpy as np

from jaxrl_entropy.ops import masked


class AdvantageInputs(struct.PyTreeNode):
  """Everything known of a whole rollout: one response a row.

  A response whose reward is NaN has no score (its verifier gave none, or the
  row is padding): it enters no statistic and its advantages are 0. A row
  without valid tokens gets zeros too, but its reward counts in its group, as
  with the peers. Masked positions may hold anything, NaN included.

  Attributes:
    rewards: outcome reward of each response; where tokens are told apart it is
      earned at the last valid token.
    mask: True at response tokens.
    groups: id of the prompt each response answers, in [0, N); groups may have
      different sizes and their rows need not be neighbors.
    token_rewards: reward of each token, added to the outcome (KL in the reward,
      say).
    process_rewards: implicit process reward of each token (PRIME).
    values: value head's prediction when the rollout was made.
    old_logp: log-prob under the policy that made the rollout, nats.
    sum_p2: sum over the vocabulary of p^2 under that policy.
    sampler_logp: log-prob that the sampler reported, nats.
    baseline_rewards: reward of the prompt's greedy response (ReMax).
    correct: 1 for a response that the verifier accepts, else 0.
    entropy: entropy of each token under that policy, nats.
    progress: share of the run that is done, scalar.
    embedding: mean final hidden state of each response's tokens under that
      policy.
    components: the parts of `rewards` by name, one a reward function; NaN where
      a function has nothing to say of the response.
  """

  rewards: Float[Array, "N"]
  mask: Bool[Array, "N T"]
  groups: Int[Array, "N"]
  token_rewards: Float[Array, "N T"] | None = None
  process_rewards: Float[Array, "N T"] | None = None
  values: Float[Array, "N T"] | None = None
  old_logp: Float[Array, "N T"] | None = None
  sum_p2: Float[Array, "N T"] | None = None
  sampler_logp: Float[Array, "N T"] | None = None
  baseline_rewards: Float[Array, "N"] | None = None
  correct: Float[Array, "N"] | None = None
  entropy: Float[Array, "N T"] | None = None
  progress: Float[Array, ""] | None = None
  embedding: Float[Array, "N D"] | None = None
  components: dict[str, Float[Array, "N"]] = struct.field(default_factory=dict)


@struct.dataclass
class Advantages:
  """An estimator's result; both are 0 at masked positions.

  Attributes:
    advantages: advantage of each token.
    returns: what a value head regresses on; the advantages themselves for
      estimators without a notion of return.
  """

  advantages: Float[Array, "N T"]
  returns: Float[Array, "N T"]


@dataclasses.dataclass(frozen=True)
class Estimator:
  """A function of AdvantageInputs that says what it asks of them.

  Attributes:
    estimate: sees float32 arrays without gradient, whose rows without a score
      are masked, of reward 0, and together in a group of id N.
    needs: optional fields of AdvantageInputs that it reads.
    smallest_group: responses to a prompt that it cannot do without.
  """

  estimate: Callable[[AdvantageInputs], Advantages]
  needs: frozenset[str] = frozenset()
  smallest_group: int = 1

  def __call__(self, inputs: AdvantageInputs) -> Advantages:
    """The advantages of a whole rollout.

    Raises:
      ValueError: if a field in `needs` is missing, or a group is too small
        (not seen where group ids are traced).
    """
    for field in sorted(self.needs):
      if getattr(inputs, field) is None:
        raise ValueError(
          f"this advantage estimator needs AdvantageInputs.{field}, which is "
          "None: provide it, or choose another config.advantage.name"
        )
    if not isinstance(inputs.groups, jax.core.Tracer):
      self._check_groups(np.asarray(inputs.groups))
    return _estimate(self.estimate, inputs)

  def _check_groups(self, groups: np.ndarray) -> None:
    sizes = np.unique(groups, return_counts=True)[1]
    if sizes.size and sizes.min() < self.smallest_group:
      raise ValueError(
        f"this advantage estimator needs {self.smallest_group} responses a "
        f"prompt, and one prompt has {sizes.min()}: raise "
        "config.rollout.group_size"
      )


@functools.partial(jax.jit, static_argnums=0)
def _estimate(
  estimate: Callable[[AdvantageInputs], Advantages], inputs: AdvantageInputs
) -> Advantages:
  inputs = _set_apart(jax.tree.map(_as_constant, inputs))
  result = estimate(inputs)
  return jax.tree.map(lambda x: masked.guard(x, inputs.mask), result)


def _as_constant(x: Any) -> jax.Array:
  x = jax.lax.stop_gradient(x)
  return x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x


def _set_apart(inputs: AdvantageInputs) -> AdvantageInputs:
  rewards, groups = scored_groups(inputs.rewards, inputs.groups)
  mask = inputs.mask & ~jnp.isnan(inputs.rewards)[:, None]
  return inputs.replace(rewards=rewards, groups=groups, mask=mask)


def scored_groups(
  x: Float[Array, "N"], groups: Int[Array, "N"]
) -> tuple[Float[Array, "N"], Int[Array, "N"]]:
  """Sets responses without a score apart, in a group of their own.

  Args:
    x: score of each response; NaN where it has none.
    groups: id of each response's group, in [0, N).

  Returns:
    `x` with 0 for NaN, and the groups with N for those rows.
  """
  missing = jnp.isnan(x)
  return jnp.where(missing, 0.0, x), jnp.where(missing, len(groups), groups)


def scores(inputs: AdvantageInputs) -> Float[Array, "N"]:
  """Returns the total reward of each response: outcome plus token rewards."""
  if inputs.token_rewards is None:
    return inputs.rewards
  return inputs.rewards + masked.guard(inputs.token_rewards, inputs.mask).sum(1)


def last_token(mask: Bool[Array, "N T"]) -> Bool[Array, "N T"]:
  """Returns True at the last valid token of each row that has one."""
  later = jnp.cumsum(mask[:, ::-1], axis=1)[:, ::-1]
  return mask & (later == 1)


def dense_rewards(inputs: AdvantageInputs) -> Float[Array, "N T"]:
  """Rewards where they are earned: the outcome's at the last valid token."""
  rewards = masked.guard(inputs.rewards[:, None], last_token(inputs.mask))
  if inputs.token_rewards is not None:
    rewards = rewards + masked.guard(inputs.token_rewards, inputs.mask)
  return rewards


def spread(per_response: jax.Array, inputs: AdvantageInputs) -> Advantages:
  """Gives each token the value of its response.

  Args:
    per_response: a value per response [N].
    inputs: the rollout.
  """
  tokens = jnp.broadcast_to(per_response[:, None], inputs.mask.shape)
  return Advantages(tokens, tokens)


def group_sum(x: Float[Array, "N *rest"], groups: Int[Array, "N"]) -> jax.Array:
  """Returns, for each row, the sum of `x` over the rows of its group.

  Args:
    x: a value, or an array, per row.
    groups: id of each row's group, below N.
  """
  return jax.ops.segment_sum(x, groups, len(groups) + 1)[groups]


def group_max(x: Float[Array, "N"], groups: Int[Array, "N"]) -> jax.Array:
  """Returns, for each row, the largest `x` in its group.

  Args:
    x: a value per row.
    groups: id of each row's group, below N.
  """
  return jax.ops.segment_max(x, groups, len(groups) + 1)[groups]


class GroupStatistics(NamedTuple):
  """Statistics of each row's group; a group of one has mean 0, deviation 1.

  Attributes:
    centered: the row's value less its group's mean.
    std: sample standard deviation of the group.
    size: number of rows in the group.
  """

  centered: Float[Array, "N"]
  std: Float[Array, "N"]
  size: Float[Array, "N"]


def group_statistics(
  x: Float[Array, "N"], groups: Int[Array, "N"]
) -> GroupStatistics:
  """Centers `x` within its groups.

  Values are measured from the group's largest first: a group whose values are
  all equal comes out as exact zeros, where a rounded mean would leave dust for
  a division by a tiny deviation to blow up.

  Args:
    x: a value per row; NaN: none.
    groups: id of each row's group, below N.
  """
  size = group_sum(jnp.ones_like(x), groups)
  below = x - group_max(x, groups)
  centered = below - group_sum(below, groups) / size
  squares = group_sum(centered * centered, groups)
  std = jnp.sqrt(squares / jnp.maximum(size - 1.0, 1.0))
  alone = size == 1
  return GroupStatistics(
    jnp.where(alone, x, centered), jnp.where(alone, 1.0, std), size
  )


def whiten(
  x: Float[Array, "N T"], mask: Bool[Array, "N T"], eps: float = 1e-8
) -> Float[Array, "N T"]:
  """Scales to mean 0 and (sample) variance 1 over the valid tokens.

  Fewer than two valid tokens have no variance: the result is 0.

  Args:
    x: values.
    mask: True at valid tokens.
    eps: added to the deviation.
  """
  centered = masked.guard(x - masked.masked_mean(x, mask), mask)
  return centered * jax.lax.rsqrt(masked.masked_std(x, mask) ** 2 + eps)
