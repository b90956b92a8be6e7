"""Accuracy of a policy on one fixed set of problems.

`evaluate` knows no model: one function generates responses, another verifies
them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
import math
from operator import itemgetter
from typing import Any, Protocol, TypeVar
import zlib

import numpy as np

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks.boxed import last_boxed
from jaxrl_entropy.data.tokenizers import Tokenizer
from jaxrl_entropy.rewards.pool import Verdict
from jaxrl_entropy.rewards.verifiers.extract import opened_thinking
from jaxrl_entropy.sampling.request import Completion, Request
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.types import Params


class Sample(Protocol):
  """A generated response, as `sampling.request.Completion`."""

  @property
  def tokens(self) -> Sequence[int] | np.ndarray:
    """Token ids, the one that ended it included."""

  @property
  def finish(self) -> str:
    """ "stop" or "length"."""


Generate = Callable[[list[list[int]], int, float], Sequence[Sequence[Sample]]]
"""(ids of the prompts, samples per prompt, temperature) -> samples of each.

Temperature 0 asks for the greedy response.
"""

Score = Callable[[list[tuple[Problem, str]]], Sequence[Verdict]]

Item = TypeVar("Item")
MAX_BUCKETS = 8


@dataclass(frozen=True)
class Evaluation:
  """The results of an evaluation.

  Attributes:
    metrics: `accuracy` (avg@k: the mean over problems and samples), its
      standard error `accuracy_stderr`, `pass@k`, `maj@k`, `greedy`,
      `truncated` and `length`; the same for each source under `<source>/` where
      there are several, and accuracy by difficulty under `difficulty/`.
    records: one for each sample, of JSON types; `greedy` tells the greedy
      responses from the sampled ones.
    stderr: standard error over problems of each metric, by the metric's name;
      none where there is one problem.
  """

  metrics: dict[str, float]
  records: list[dict[str, Any]]
  stderr: dict[str, float]


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
  """Samples responses to problems, verifies them, and counts.

  Args:
    generate: makes the samples.
    tokenizer: renders the prompts and reads the samples.
    problems: the set, all of it.
    score: verdicts of (problem, response) pairs; `RewardPool.verify`.
    samples: of each problem; one where the temperature is 0.
    temperature: of the samples.
    source_temperatures: pairs of a data source and its own temperature.
    greedy: whether to take a greedy response as well.
    system: system message of problems that have none of their own.

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
      opened = [opened_thinking(tokenizer.decode(p[-8:])) for p in prompts]
      records += _records(group, opened, generated, tokenizer, at, at != heat)
  _score_records(records, by_id, score)
  metrics, stderr = summarise(records)
  return Evaluation(metrics, records, stderr)


def generator(
  sampler: Sampler,
  params: Params,
  tokenizer: Tokenizer,
  max_tokens: int,
  top_p: float = 1.0,
  top_k: int = 0,
) -> Generate:
  """Returns the function that `evaluate` samples with.

  Args:
    sampler: of the policy's model.
    params: of the policy.
    tokenizer: names the tokens that end a response.
    max_tokens: of a response.
    top_p: probability mass of the tokens to sample among; 1: all.
    top_k: number of tokens to sample among; 0: all.
  """

  def generate(
    prompts: list[list[int]], samples: int, temperature: float
  ) -> list[list[Completion]]:
    requests = [
      Request(
        prompt=tuple(prompt),
        n=samples,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        stop_ids=tokenizer.stop_ids,
        # A problem's random numbers depend on nothing but the problem.
        seed=zlib.crc32(np.asarray(prompt, np.int32).tobytes()),
      )
      for prompt in prompts
    ]
    return sampler.generate(params, requests)

  return generate


def summarise(
  records: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, float], dict[str, float]]:
  """Returns the metrics of an evaluation's records, and standard errors."""
  groups = {"": records}
  sources = _group(records, itemgetter("source"))
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


def _records(
  problems: Sequence[Problem],
  opened: Sequence[str],
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
      "system": problem.system,
      "prompt": problem.prompt,
      "answer": problem.answer,
      "verifier": problem.verifier,
      "response": tag + tokenizer.decode([int(t) for t in sample.tokens]),
      "length": len(sample.tokens),
      "finish": sample.finish,
    }
    for problem, tag, samples in zip(problems, opened, generated, strict=True)
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


def _by_problem(
  records: Sequence[Mapping[str, Any]],
) -> dict[str, list[float]]:
  """Returns the metrics that are means over problems, a value for each."""
  sampled = _group([r for r in records if not r["greedy"]], itemgetter("id"))
  samples = list(sampled.values())
  counts = [(len(rows), sum(r["correct"] for r in rows)) for rows in samples]
  values = {"accuracy": [right / total for total, right in counts]}
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


def _of_samples(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
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
  records: Sequence[Mapping[str, Any]],
) -> dict[str, list[Mapping[str, Any]]]:
  """Groups records by difficulty: by value if there are few, else quartile."""
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


def _stderr(values: Sequence[float]) -> float:
  """Returns the standard error of the mean of independent values."""
  return float(np.std(values, ddof=1) / math.sqrt(len(values)))
