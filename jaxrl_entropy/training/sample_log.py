"""Sampled responses with statistics per token, for `samples.jsonl`.

`analysis.samples` documents the format and reads it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrl_entropy.data.tokenizers import Tokenizer
from jaxrl_entropy.training import rollout as rollout_lib
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.training.rollout_metrics import token_covariance

PROBLEMS = 2
RESPONSES = 4  # per problem
_DIGITS = 4

# Shares and bounds of the rules where the loss does not set its own.
_TOP_COVARIANCE, _BAND, _TOP_ENTROPY = 2e-3, (1.0, 5.0), 0.2


def describe(
  rollout: Rollout,
  tokenizer: Tokenizer,
  step: int,
  loss_args: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
  """Returns records of a few responses, of problems with unequal rewards first.

  Args:
    rollout: all responses of a step, with `old_logp`, `entropy` and
      `advantages` among its signals.
    tokenizer: decodes prompts and tokens.
    step: the step.
    loss_args: arguments of the loss; `fraction`, `cov_low` and `cov_high` set
      the rules.
  """
  covariance = np.zeros(rollout.mask.shape, np.float32)
  covariance[rollout.mask] = token_covariance(rollout)
  entropy = rollout.signals["entropy"]
  selected = _rules(covariance, entropy, rollout.mask, loss_args or {})
  records = []
  for row in _rows(rollout):
    tokens = rollout.mask[row]
    records.append(
      {
        "step": step,
        "problem": rollout.problems[row].id,
        "prompt": tokenizer.spell(rollout.prompts[row].tolist()),
        "tokens": _texts(rollout.responses[row].tolist(), tokenizer),
        "reward": float(rollout.rewards[row]),
        "correct": bool(rollout.correct[row]),
        "logp": _rounded(rollout.signals["old_logp"][row][tokens]),
        "entropy": _rounded(entropy[row][tokens]),
        "covariance": _rounded(covariance[row][tokens]),
        "selected": {
          rule: chosen[row][tokens].astype(int).tolist()
          for rule, chosen in selected.items()
        },
      }
    )
  return records


def _rows(rollout: Rollout) -> list[int]:
  """Returns the responses to record."""
  mixed = set(rollout_lib.mixed_groups(rollout).tolist())
  groups = sorted(
    np.unique(rollout.groups).tolist(), key=lambda group: group not in mixed
  )
  return [
    int(row)
    for group in groups[:PROBLEMS]
    for row in np.flatnonzero(rollout.groups == group)[:RESPONSES]
  ]


def _rules(
  covariance: np.ndarray,
  entropy: np.ndarray,
  mask: np.ndarray,
  args: Mapping[str, Any],
) -> dict[str, np.ndarray]:
  """Returns bool [N, T] by rule, over all tokens of the rollout.

  A method applies its rule to each mini-batch at the time of its update, so
  its own choice differs a little.
  """
  fraction = _number(args.get("fraction"), _TOP_COVARIANCE)
  low = _number(args.get("cov_low"), _BAND[0])
  high = _number(args.get("cov_high"), _BAND[1])
  return {
    f"top {fraction:.3g} of covariance": _top(covariance, mask, fraction),
    f"covariance from {low:g} to {high:g}": (
      mask & (low < covariance) & (covariance < high)
    ),
    f"top {_TOP_ENTROPY:g} of entropy": _top(entropy, mask, _TOP_ENTROPY),
  }


def _number(value: Any, default: float) -> float:
  return float(value) if isinstance(value, int | float) else default


def _top(score: np.ndarray, mask: np.ndarray, fraction: float) -> np.ndarray:
  """Selects at least one token, and all that equal the last of the top."""
  scores = np.sort(score[mask])[::-1]
  if not len(scores):
    return np.zeros_like(mask)
  last = scores[max(0, int(fraction * len(scores)) - 1)]
  return mask & (score >= last)


def _texts(ids: Sequence[int], tokenizer: Tokenizer) -> list[str]:
  """Decodes each token beside its predecessor, which decides on spaces."""
  texts = []
  for index, token in enumerate(ids):
    before = list(ids[max(0, index - 1) : index])
    start = len(tokenizer.decode(before)) if before else 0
    stops = token in tokenizer.stop_ids
    text = tokenizer.decode([*before, token])[start:]
    texts.append("<end>" if stops and not text else text)
  return texts


def _rounded(values: np.ndarray) -> list[float]:
  return [round(float(value), _DIGITS) for value in values]
