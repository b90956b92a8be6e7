"""Accuracy of a policy on one fixed set of problems.

`evaluate` knows no model: a function generates, another scores.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
import math
from operator import itemgetter
from typing import Any, Protocol, TypeVar
import zlib

import numpy as np

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tokenizers import Tokenizer
from jaxrl_entropy.rewards.pool import Verdict
from jaxrl_entropy.sampling.request import Completion, Request
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.types import Params


class Sample(Protocol):
  """One generated response, as `sampling.sampler.Completion`."""

  @property
  def tokens(self) -> Sequence[int] | np.ndarray:
    """Token ids, the one that ended it included."""

  @property
  def finish(self) -> str:
    """ "stop" or "length"."""


Generate = Callable[[list[list[int]], int, float], Sequence[Sequence[Sample]]]
"""(prompts' ids, samples a prompt, temperature) -> samples of each prompt.

Temperature 0 asks for the greedy response.
"""

Score = Callable[[list[tuple[Problem, str]]], Sequence[Verdict]]

Item = TypeVar("Item")
MAX_BUCKETS = 8


@dataclass(frozen=True)
class Evaluation:
  """What was measured.

  Attributes:
    metrics: `accuracy` (avg@k: the mean over problems and samples), its
      standard error over problems, `pass@k`, `greedy`, `truncated` and
      `length`; the same for each source under `<source>/` where there are
      several, and accuracy by difficulty under `difficulty/`.
    records: one a sample, fit for JSON; `greedy` tells the two kinds apart.
  """

  metrics: dict[str, float]
  records: list[dict[str, Any]]


def evaluate(
  generate: Generate,
  tokenizer: Tokenizer,
  problems: Sequence[Problem],
  score: Score,
  *,
  samples: int = 1,
  temperature: float = 1.0,
  source_temperatures: Iterable[tuple[str, float]] = (),
  greedy: bool = True,
  system: str | None = None,
) -> Evaluation:
  """Generates, scores and counts.

  Args:
    generate: makes the samples.
    tokenizer: renders the prompts and reads the samples.
    problems: the set, all of it.
    score: verdicts of (problem, response) pairs; `RewardPool.score`.
    samples: a problem; one where the temperature is 0.
    temperature: of the samples.
    source_temperatures: pairs of a data source and its own temperature.
    greedy: whether to take a greedy response as well.
    system: system message of the chat template.

  Raises:
    ValueError: there are no problems, or two with one id.
  """
  if not problems:
    raise ValueError("there are no problems to evaluate on")
  by_id = {problem.id: problem for problem in problems}
  if len(by_id) < len(problems):
    raise ValueError("two problems of the evaluation set have the same id")
  records: list[dict[str, Any]] = []
  heats = dict(source_temperatures)
  for heat, group in _group(
    problems, lambda problem: heats.get(problem.source, temperature)
  ).items():
    prompts = [tokenizer.render(p.prompt, p.system or system) for p in group]
    passes = [(heat, samples if heat > 0 else 1)]
    if greedy and heat > 0:
      passes.append((0.0, 1))
    for at, count in passes:
      generated = generate(prompts, count, at)
      records += _records(group, generated, tokenizer, at, at != heat)
  _score_records(records, by_id, score)
  return Evaluation(summarise(records), records)


def generator(
  sampler: Sampler, params: Params, tokenizer: Tokenizer, max_tokens: int
) -> Generate:
  """`evaluate`'s function for a sampler and a policy's parameters."""

  def generate(
    prompts: list[list[int]], samples: int, temperature: float
  ) -> list[list[Completion]]:
    requests = [
      Request(
        prompt=tuple(prompt),
        n=samples,
        max_tokens=max_tokens,
        temperature=temperature,
        stop_ids=tokenizer.stop_ids,
        # A problem's random numbers depend on nothing but the problem.
        seed=zlib.crc32(np.asarray(prompt, np.int32).tobytes()),
      )
      for prompt in prompts
    ]
    return sampler.generate(params, requests)

  return generate


def summarise(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  """The metrics of an evaluation from its records."""
  metrics = _summary(records)
  sources = _group(records, itemgetter("source"))
  if len(sources) > 1:
    for source, part in sources.items():
      metrics |= {f"{source}/{k}": v for k, v in _summary(part).items()}
  for bucket, part in _by_difficulty(records).items():
    counts = _right_of(part)
    metrics[f"difficulty/{bucket}/accuracy"] = _mean(c / n for n, c in counts)
  return metrics


def pass_at_k(samples: int, right: int, k: int) -> float:
  """Unbiased chance that one of k samples is right, with `right` of `samples`.

  1 - C(n - c, k) / C(n, k); Chen et al. 2021, arXiv 2107.03374, equation 1.
  """
  if k > samples:
    raise ValueError(f"pass@{k} needs at least {k} samples, not {samples}")
  return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


def _records(
  problems: Sequence[Problem],
  generated: Sequence[Sequence[Sample]],
  tokenizer: Tokenizer,
  temperature: float,
  greedy: bool,
) -> list[dict[str, Any]]:
  return [
    {
      "id": problem.id,
      "source": problem.source,
      "difficulty": problem.difficulty,
      "greedy": greedy,
      "temperature": temperature,
      "sample": index,
      "prompt": problem.prompt,
      "answer": problem.answer,
      "response": tokenizer.decode([int(t) for t in sample.tokens]),
      "length": len(sample.tokens),
      "finish": sample.finish,
    }
    for problem, samples in zip(problems, generated, strict=True)
    for index, sample in enumerate(samples)
  ]


def _score_records(
  records: Sequence[dict[str, Any]],
  problems: Mapping[str, Problem],
  score: Score,
) -> None:
  items = [(problems[r["id"]], r["response"]) for r in records]
  for record, verdict in zip(records, score(items), strict=True):
    record["reward"] = verdict.reward
    record["correct"] = verdict.correct
    record["error"] = verdict.error


def _summary(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  sampled = [r for r in records if not r["greedy"]]
  greedy = [r for r in records if r["greedy"]]
  counts = _right_of(sampled)
  shares = [right / total for total, right in counts]
  metrics = {
    "accuracy": _mean(shares),
    "accuracy_stderr": float(np.std(shares) / math.sqrt(len(shares))),
    "truncated": _mean(r["finish"] == "length" for r in sampled),
    "length": _mean(r["length"] for r in sampled),
    "errors": _mean(r["error"] is not None for r in sampled),
  }
  for k in _powers_of_two(min(total for total, _ in counts)):
    metrics[f"pass@{k}"] = _mean(pass_at_k(n, c, k) for n, c in counts)
  # At temperature 0 the one sample is the greedy response.
  greedy += [r for r in sampled if r["temperature"] == 0]
  if len(greedy) == len(counts):
    metrics["greedy"] = _mean(r["correct"] for r in greedy)
  return metrics


def _right_of(records: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
  """(samples, right ones) of each problem, greedy responses left out."""
  by_problem = _group([r for r in records if not r["greedy"]], itemgetter("id"))
  return [(len(p), sum(r["correct"] for r in p)) for p in by_problem.values()]


def _by_difficulty(
  records: Sequence[Mapping[str, Any]],
) -> dict[str, list[Mapping[str, Any]]]:
  """Buckets by value where there are few values, else by quartile."""
  known = [r for r in records if r["difficulty"] is not None]
  values = sorted({r["difficulty"] for r in known})
  if len(values) < 2:
    return {}
  by_value = _group(known, itemgetter("difficulty"))
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


def _group(
  items: Iterable[Item], key: Callable[[Item], Any]
) -> dict[Any, list[Item]]:
  groups = defaultdict(list)
  for item in items:
    groups[key(item)].append(item)
  return groups


def _powers_of_two(limit: int) -> list[int]:
  return [2**i for i in range(limit.bit_length())]


def _mean(values: Iterable[float]) -> float:
  return float(np.mean(list(values)))
