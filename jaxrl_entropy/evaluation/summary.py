"""Metrics of an evaluation from the records of its samples."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
import math
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np

from jaxrl_entropy.data.tasks.boxed import last_boxed

Item = TypeVar("Item")
Record = Mapping[str, Any]
MAX_BUCKETS = 8


def summarize(
  records: Sequence[Record],
) -> tuple[dict[str, float], dict[str, float]]:
  """Returns the metrics of an evaluation's records, and standard errors.

  Args:
    records: one for each sample, as `samples.jsonl` has them.
  """
  groups = {"": records}
  sources = group_by(records, itemgetter("source"))
  if len(sources) > 1:
    groups |= {f"{source}/": rows for source, rows in sources.items()}
  metrics: dict[str, float] = {}
  stderr: dict[str, float] = {}
  for prefix, rows in groups.items():
    by_problem = _by_problem(rows)
    errors = {name: _stderr(v) for name, v in by_problem.items() if len(v) > 1}
    means = {name: _mean(values) for name, values in by_problem.items()}
    if "accuracy" in errors:
      means["accuracy_stderr"] = errors["accuracy"]
    means |= _of_samples(rows)
    metrics |= {f"{prefix}{name}": value for name, value in means.items()}
    stderr |= {f"{prefix}{name}": value for name, value in errors.items()}
  for bucket, rows in _by_difficulty(records).items():
    name, shares = (
      f"difficulty/{bucket}/accuracy",
      _by_problem(rows)["accuracy"],
    )
    metrics[name] = _mean(shares)
    if len(shares) > 1:
      stderr[name] = _stderr(shares)
  return metrics, stderr


def pass_at_k(samples: int, right: int, k: int) -> float:
  """Returns an unbiased estimate that one of k samples is right.

  1 - C(n - c, k) / C(n, k) for c = `right` of n = `samples`.

  Args:
    samples: responses to the problem.
    right: how many of them are right.
    k: responses that may be tried.

  Raises:
    ValueError: k is above `samples`.

  References:
    Chen et al. 2021 (arXiv 2107.03374), equation 1.
  """
  if k > samples:
    raise ValueError(f"pass@{k} needs at least {k} samples, not {samples}")
  return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


def majority(answers: Sequence[str | None], right: Sequence[bool]) -> float:
  """Returns the chance that a majority vote over samples is right (maj@k).

  Args:
    answers: what each sample answers; None abstains.
    right: whether each is right; all right ones vote for the same answer,
      however they spell it. A tie is broken at random.
  """
  votes = Counter(
    True if is_right else answer
    for answer, is_right in zip(answers, right, strict=True)
    if answer is not None
  )
  if not votes:
    return 0.0
  most = max(votes.values())
  leaders = [answer for answer, count in votes.items() if count == most]
  return (True in leaders) / len(leaders)


def _by_problem(
  records: Sequence[Record],
) -> dict[str, list[float]]:
  """Returns the metrics that are means over problems, a value for each."""
  sampled = group_by([r for r in records if not r["greedy"]], itemgetter("id"))
  samples = list(sampled.values())
  counts = [(len(rows), sum(r["correct"] for r in rows)) for rows in samples]
  values = {"accuracy": [right / total for total, right in counts]}
  if any(r["reward"] != r["correct"] for r in records):
    # Graded: what is almost right tells policies apart that are never right.
    values["reward"] = [_mean(r["reward"] for r in rows) for rows in samples]
  fewest = min(total for total, _ in counts)
  for k in _powers_of_two(fewest):
    values[f"pass@{k}"] = [pass_at_k(n, c, k) for n, c in counts]
  votes = [[_squeezed(r["response"]) for r in rows] for rows in samples]
  if fewest > 2 and any(answer for answers in votes for answer in answers):
    values[f"maj@{fewest}"] = [
      majority(answers, [r["correct"] for r in rows])
      for answers, rows in zip(votes, samples, strict=True)
    ]
  # At temperature 0 the one sample is the greedy response.
  greedy = [r for r in records if r["greedy"] or r["temperature"] == 0]
  if len(greedy) == len(counts):
    values["greedy"] = [float(r["correct"]) for r in greedy]
  return values


def _of_samples(records: Sequence[Record]) -> dict[str, float]:
  """Returns the metrics that are means over sampled responses."""
  sampled = [r for r in records if not r["greedy"]]
  return {
    "truncated": _mean(r["finish"] == "length" for r in sampled),
    "length": _mean(r["length"] for r in sampled),
    "errors": _mean(r["error"] is not None for r in sampled),
  }


def _squeezed(response: str) -> str | None:
  """Returns the boxed answer of a response without spaces, if it has one."""
  boxed = last_boxed(response)
  return None if boxed is None else "".join(boxed.split())


def _by_difficulty(
  records: Sequence[Record],
) -> dict[str, list[Record]]:
  """Groups records by difficulty: by value if there are few, else quartile."""
  known = [r for r in records if r["difficulty"] is not None]
  values = sorted({r["difficulty"] for r in known})
  if len(values) < 2:
    return {}
  by_value = group_by(known, itemgetter("difficulty"))
  if len(values) <= MAX_BUCKETS:
    return {f"{value:g}": by_value[value] for value in values}
  edges = np.quantile([r["difficulty"] for r in known], (0, 0.25, 0.5, 0.75, 1))
  quartile = np.searchsorted(edges[1:-1], [r["difficulty"] for r in known])
  buckets = defaultdict(list)
  for index, record in sorted(
    zip(quartile, known, strict=True), key=lambda pair: pair[0]
  ):
    low, high = edges[index], edges[index + 1]
    buckets[f"{low:.3g}-{high:.3g}"].append(record)
  return buckets


def group_by(
  items: Iterable[Item], key: Callable[[Item], Any]
) -> dict[Any, list[Item]]:
  """Returns the items of each key, keys and items in the order they come.

  Args:
    items: read once.
    key: gives the key of an item, which must be hashable.
  """
  groups = defaultdict(list)
  for item in items:
    groups[key(item)].append(item)
  return groups


def _powers_of_two(limit: int) -> list[int]:
  return [2**i for i in range(limit.bit_length())]


def _mean(values: Iterable[float]) -> float:
  return float(np.mean(list(values)))


def _stderr(values: Sequence[float]) -> float:
  """Returns the standard error of the mean of independent values."""
  return float(np.std(values, ddof=1) / math.sqrt(len(values)))
