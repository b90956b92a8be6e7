"""The metrics of a rollout, over its tokens before the first update."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.ops import covariance as ops
from jaxrl_entropy.training.auxiliary import implicit_reward
from jaxrl_entropy.training.rollout import Rollout, mixed_groups

# The shares of tokens whose mean covariance the paper's Table 1 lists.
TOP_PERCENT = (0.02, 0.2, 2, 20, 50)


def token_covariance(rollout: Rollout) -> np.ndarray:
  """Returns (log pi - mean)(A - mean) of each valid token, [tokens].

  Args:
    rollout: with the signals `old_logp`, nats, and `advantages`.
  """
  tokens = rollout.tokens
  # Padded to a power of two, so that few sizes are compiled.
  capacity = 1 << max(tokens - 1, 0).bit_length()

  def flat(values: np.ndarray) -> jax.Array:
    padding = (0, capacity - tokens)
    return jnp.asarray(np.pad(values[rollout.mask], padding)[None], jnp.float32)

  logp, advantages = map(
    flat, (rollout.signals["old_logp"], rollout.signals["advantages"])
  )
  valid = jnp.arange(capacity)[None] < tokens
  return np.asarray(ops.token_covariance(logp, advantages, valid))[0, :tokens]


def covariance_metrics(covariance: np.ndarray) -> dict[str, float]:
  """Returns mean, tail and top-share means of `cov/*`, each of >= 1 token.

  Args:
    covariance: of each valid token, at least one, as from `token_covariance`.
  """
  ordered = np.sort(covariance)[::-1]
  tops = {
    f"{run_files.COVARIANCE}top_{percent}pct_mean": ordered[
      : max(1, int(percent / 100 * len(ordered)))
    ].mean()
    for percent in TOP_PERCENT
  }
  return tops | {
    run_files.COVARIANCE_MEAN: covariance.mean(),
    run_files.COVARIANCE + "q99": np.quantile(covariance, 0.99),
  }


def split_metrics(rollout: Rollout, covariance: np.ndarray) -> dict[str, float]:
  """Returns mean `cov/*` by difficulty, by outcome and by position.

  `difficulty_*` are tokens of groups with some answers right, by their share:
  below a third, up to two thirds, above. `position_q*` are the quarters of each
  response. A part without tokens is left out.

  Args:
    rollout: all sampled responses.
    covariance: `token_covariance(rollout)`.
  """
  row, column = np.nonzero(rollout.mask)
  right = np.bincount(rollout.groups, rollout.correct)
  share = right / np.maximum(np.bincount(rollout.groups), 1)
  share = share[rollout.groups][row]
  correct = rollout.correct[row]
  begin = rollout.mask.argmax(1)[row]
  quarter = 4 * (column - begin) // rollout.mask.sum(1)[row]
  masks = {
    "difficulty_low": (share > 0) & (share < 1 / 3),
    "difficulty_middle": (share >= 1 / 3) & (share <= 2 / 3),
    "difficulty_high": (share > 2 / 3) & (share < 1),
    "outcome_correct": correct,
    "outcome_incorrect": ~correct,
    **{f"position_q{n + 1}": quarter == n for n in range(4)},
  }
  return {
    f"{run_files.COVARIANCE}{name}": covariance[mask].mean()
    for name, mask in masks.items()
    if mask.any()
  }


def quadrant_metrics(
  rollout: Rollout, covariance: np.ndarray
) -> dict[str, float]:
  """Splits `cov/mean` by probability and advantage of a token.

  "Likely" tokens have a log-prob above the mean, "rewarded" ones an advantage
  above the mean. The four parts add up to `cov/mean`.

  Args:
    rollout: all sampled responses.
    covariance: `token_covariance(rollout)`.
  """
  logp = rollout.signals["old_logp"][rollout.mask]
  advantages = rollout.signals["advantages"][rollout.mask]
  likely = logp > logp.mean()
  rewarded = advantages > advantages.mean()
  masks = {
    run_files.LIKELY_REWARDED: likely & rewarded,
    run_files.UNLIKELY_PUNISHED: ~likely & ~rewarded,
    run_files.LIKELY_PUNISHED: likely & ~rewarded,
    run_files.UNLIKELY_REWARDED: ~likely & rewarded,
  }
  return {name: covariance[p].sum() / p.size for name, p in masks.items()}


def staleness_metrics(rollout: Rollout, step: int) -> dict[str, float]:
  """Returns how many steps older than `step` the weights of its tokens are.

  `rollout/staleness` is the mean, `staleness_max` the largest, and
  `staleness_share/{n}` the share of tokens that are n steps old.

  Args:
    rollout: with the signal `version`, the step of the weights of each token.
    step: the one that learns from it.
  """
  ages = step - rollout.signals["version"][rollout.mask].astype(int)
  shares = np.bincount(ages) / ages.size
  return {
    run_files.STALENESS: ages.mean(),
    f"{run_files.STALENESS}_max": int(ages.max()),
    **{f"{run_files.STALENESS}_share/{n}": x for n, x in enumerate(shares)},
  }


def rollout_metrics(everything: Rollout, kept: Rollout) -> dict[str, float]:
  """Metrics of all sampled responses and of those the updates will see.

  Args:
    everything: all sampled responses, with `sampler_logp`, `logp`,
      `old_logp`, `entropy` and `advantages`
      (0 for a group whose rewards are all equal) among its signals.
    kept: the responses that passed the filter; may be empty.
  """
  mask = everything.mask
  entropy = everything.signals["entropy"]
  lengths = mask.sum(1)
  covariance = token_covariance(everything)
  gap = everything.signals["sampler_logp"] - everything.signals["logp"]
  metrics = {
    run_files.TOKENS: int(mask.sum()),
    run_files.REWARD_MEAN: everything.rewards.mean(),
    run_files.TRAIN_ACCURACY: everything.correct.mean(),
    run_files.INFORMATIVE_GROUPS: len(mixed_groups(everything))
    / len(np.unique(everything.groups)),
    run_files.ENTROPY: entropy[mask].mean(),
    run_files.SEQUENCE_ENTROPY: np.mean(
      np.where(mask, entropy, 0).sum(1) / np.maximum(lengths, 1)
    ),
    run_files.MISMATCH_KL: gap[mask].mean(),
    run_files.RESPONSE_LENGTH: lengths.mean(),
    run_files.TRUNCATED: everything.truncated.mean(),
    **covariance_metrics(covariance),
    **split_metrics(everything, covariance),
    **quadrant_metrics(everything, covariance),
  }
  if len(everything.components) > 1:
    metrics |= {
      f"reward/component/{name}": values.mean()
      for name, values in everything.components.items()
    }
  if "router_agreement" in everything.signals:
    agreement = everything.signals["router_agreement"][mask]
    metrics["router/agreement"] = agreement.mean()
  if "implicit_logp" in everything.signals:
    metrics["implicit_reward/pair_accuracy"] = implicit_reward.pair_accuracy(
      everything
    )
  if kept.tokens:
    metrics[run_files.FILTERED_ENTROPY] = kept.signals["entropy"][
      kept.mask
    ].mean()
    metrics[run_files.FILTERED_COVARIANCE_MEAN] = token_covariance(kept).mean()
  return metrics
