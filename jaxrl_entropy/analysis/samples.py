"""Sampled responses that training wrote, with what it measured at each token.

`samples.jsonl` in a run's folder has one JSON object per response:

    step         int    step of the rollout
    problem      str    identifier of the problem
    prompt       str    text of the prompt
    tokens       [str]  text of each response token
    reward       float  reward, with shaping
    correct      bool   the verifier's verdict
    logp         [float]  log-probability of each token
    entropy      [float]  entropy of the policy at each token, nats
    covariance   [float]  the token's part of the covariance, nats
    selected     {str: [0 or 1]}  by rule, whether it selects the token

A number that is not finite is written as null.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import runs

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Sample:
  """One sampled response of n tokens.

  Attributes:
    step: step of the rollout.
    problem: identifier of the problem.
    prompt: text of the prompt.
    tokens: text of each response token.
    reward: reward, with shaping.
    correct: the verifier's verdict.
    logp: float64[n], log-probability of each token.
    entropy: float64[n], entropy of the policy at each token, nats.
    covariance: float64[n], each token's part of the covariance, nats.
    selected: bool[n] by rule, whether it selects the token.
  """

  step: int
  problem: str
  prompt: str
  tokens: Sequence[str]
  reward: float
  correct: bool
  logp: Array
  entropy: Array
  covariance: Array
  selected: Mapping[str, Array]


def load(
  folder: str | pathlib.Path,
) -> tuple[list[Sample], tuple[str, ...]]:
  """Reads the sampled responses of a run.

  Args:
    folder: of the run.

  Returns:
    The samples, in the order of the file, and notes about lines that could not
    be used; both are empty if the run has no such file.
  """
  path = pathlib.Path(folder) / run_files.SAMPLES
  rows, notes = runs.read_json_lines(path)
  samples, bad = [], []
  for number, row in rows:
    try:
      samples.append(_sample(row))
    except (AttributeError, KeyError, TypeError, ValueError):
      bad.append(str(number))
  if bad:
    notes += (
      f"{path.name}: {len(bad)} line(s) without a complete sample left out: "
      f"{', '.join(bad[:8])}",
    )
  return samples, notes


def _sample(row: Mapping[str, Any]) -> Sample:
  """Converts one object of the file.

  Raises:
    AttributeError, KeyError, TypeError, ValueError: if a field is missing or
      malformed.
  """
  tokens = [str(token) for token in row["tokens"]]

  def per_token(values: Any, dtype: type) -> Array:
    array: Array = np.array(values, dtype)
    if array.shape != (len(tokens),):
      raise ValueError(f"{array.shape} values for {len(tokens)} tokens")
    return array

  return Sample(
    step=int(row["step"]),
    problem=str(row["problem"]),
    prompt=str(row["prompt"]),
    tokens=tokens,
    reward=float(row["reward"]),
    correct=bool(row["correct"]),
    logp=per_token(row["logp"], np.float64),
    entropy=per_token(row["entropy"], np.float64),
    covariance=per_token(row["covariance"], np.float64),
    selected={
      str(rule): per_token(flags, bool)
      for rule, flags in row["selected"].items()
    },
  )
