"""Rules that select or weigh tokens, as predictors of the change of entropy.

Each rule gives a token a score: the fall of entropy that it expects from the
token's update. The scores are compared, over all tokens that a step learns
from, with the exact first-order flow and with the change that is measured: the
entropy at the same states after the step's updates less that before.
"""

from collections.abc import Mapping
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
import numpy as np

from jaxrl_entropy import losses, run_files
from jaxrl_entropy.losses.scores import Score
from jaxrl_entropy.training.forward import MOMENTS
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.types import TokenBatch, token_batch

FLOW = "flow"

# The fall of entropy that each rule expects, nats per unit of the step's size.
PREDICTORS: dict[str, Score] = {
  "cov": losses.covariance_score(),
  "centered_cov": losses.centered_covariance_score,
  "discriminator": losses.discriminator_score,
  "omega": losses.entropy_change_score(),
  FLOW: losses.entropy_change_score(exact=True),
}
# Scores whose highest tokens are looked at.
RULES = PREDICTORS | {"entropy": losses.entropy_score}

NEEDS = {"entropy", "rank"} | MOMENTS

_FIELDS = ("logp", "advantages", "entropy", *sorted(MOMENTS), "rank")


def compare_rules(
  rollout: Rollout, entropy_after: np.ndarray, fraction: float
) -> dict[str, float]:
  """Returns what the rules predict, and which tokens they pick.

  Args:
    rollout: the responses that were learned from, with the signals of
      `NEEDS`, `logp` and `advantages`, as they were before the updates.
    entropy_after: [N, T] entropies of the same tokens after the updates, nats.
    fraction: share of the tokens that each rule picks, at least one.

  Returns:
    For each predictor `predictors/RULE/`: `flow_correlation` and
    `change_correlation` over tokens, and `mean`, the mean predicted change; the
    mean measured one, `predictors/change`; and for each rule `picks/RULE/`:
    means of `probability`, `rank`, `entropy` and `position` (0: first token of
    the response, 1: last) of its tokens, and `overlap/OTHER`, the share of them
    that another rule picks too. A correlation with a constant is NaN.
  """
  batch = _flat(rollout)
  falls, chosen = jax.device_get(_evaluate(batch, fraction))
  count, mask = rollout.tokens, rollout.mask
  change = (entropy_after - rollout.signals["entropy"])[mask]
  predicted = {name: -fall[0, :count] for name, fall in falls.items()}
  picked = {name: tokens[0, :count] for name, tokens in chosen.items()}
  lengths = np.maximum(mask.sum(1, keepdims=True) - 1, 1)
  place = (np.cumsum(mask, axis=1) - 1) / lengths
  traits = {
    "probability": np.exp(rollout.signals["logp"][mask]),
    "rank": rollout.signals["rank"][mask],
    "entropy": rollout.signals["entropy"][mask],
    "position": place[mask],
  }
  return _predictions(predicted, change) | _picks(picked, traits)


def _flat(rollout: Rollout) -> TokenBatch:
  """The tokens in one row, padded to a power of two: few sizes are compiled."""
  tokens = rollout.tokens
  capacity = 1 << max(tokens - 1, 0).bit_length()

  def row(values: np.ndarray) -> np.ndarray:
    flat = values[rollout.mask].astype(np.float32)
    return np.pad(flat, (0, capacity - tokens))[None]

  fields = {name: jnp.asarray(row(rollout.signals[name])) for name in _FIELDS}
  return token_batch(
    old_logp=fields["logp"],
    mask=jnp.arange(capacity)[None] < tokens,
    **fields,
  )


@functools.partial(jax.jit, static_argnames="fraction")
def _evaluate(
  batch: TokenBatch, fraction: float
) -> tuple[
  dict[str, Float[Array, "B T"]],
  dict[str, Bool[Array, "B T"]],
]:
  zeros = jnp.zeros_like(batch.logp)
  loss = losses.TokenLoss(zeros, zeros + 1.0, zeros.astype(bool), {})
  chosen = {
    name: losses.pick(
      losses.top_fraction(score, fraction, min_tokens=1),
      loss,
      batch,
      jax.random.key(0),
    ).chosen
    for name, score in RULES.items()
  }
  return {name: score(batch) for name, score in PREDICTORS.items()}, chosen


def _predictions(
  predicted: Mapping[str, np.ndarray], change: np.ndarray
) -> dict[str, float]:
  metrics = {run_files.PREDICTED_CHANGE: float(change.mean())}
  for name, values in predicted.items():
    prefix = f"{run_files.PREDICTORS}{name}/"
    flow = _correlation(values, predicted[FLOW])
    metrics[prefix + "flow_correlation"] = flow
    metrics[prefix + "change_correlation"] = _correlation(values, change)
    metrics[prefix + "mean"] = float(values.mean())
  return metrics


def _picks(
  picked: Mapping[str, np.ndarray], traits: Mapping[str, np.ndarray]
) -> dict[str, float]:
  metrics: dict[str, float] = {}
  for name, tokens in picked.items():
    prefix = f"{run_files.PICKS}{name}/"
    size = max(int(tokens.sum()), 1)
    for trait, values in traits.items():
      metrics[prefix + trait] = float(values[tokens].sum() / size)
    for other, others in picked.items():
      if other != name:
        overlap = float((tokens & others).sum() / size)
        metrics[f"{prefix}overlap/{other}"] = overlap
  return metrics


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
  """Returns Pearson's correlation; NaN where one of them is constant."""
  x, y = (values.astype(np.float64) - values.mean() for values in (x, y))
  size = float(np.sqrt((x**2).sum() * (y**2).sum()))
  return float((x * y).sum() / size) if size else float("nan")
