"""Sampled and verified responses to a fixed set of problems.

`evaluate` knows no model: one function generates responses, another verifies
them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
import zlib

import numpy as np

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tokenizers import Tokenizer
from jaxrl_entropy.evaluation.summary import group_by, summarize
from jaxrl_entropy.rewards.pool import Verdict
from jaxrl_entropy.rewards.verifiers.extract import opened_thinking
from jaxrl_entropy.sampling.request import Completion, Request
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.types import Params


class Sample(Protocol):
  """A generated response, as `sampling.request.Completion`."""

  @property
  def tokens(self) -> Sequence[int] | np.ndarray:
    """Token ids, including the one that ended the response."""

  @property
  def finish(self) -> str:
    """Returns "stop" or "length"."""


Generate = Callable[[list[list[int]], int, float], Sequence[Sequence[Sample]]]
"""(ids of the prompts, samples per prompt, temperature) -> samples of each.

Temperature 0 asks for the greedy response.
"""

Score = Callable[[list[tuple[Problem, str]]], Sequence[Verdict]]


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

  @property
  def table(self) -> dict[str, float]:
    """The metrics, and the standard error of each under its name `_stderr`."""
    return self.metrics | {f"{k}_stderr": v for k, v in self.stderr.items()}

  def beside(self, name: str, other: "Evaluation") -> "Evaluation":
    """Returns this evaluation with another's metrics under `name/`.

    Args:
      name: prefix of the other's metrics, such as `at_0.6`.
      other: an evaluation under other settings; its records are appended.
    """
    return Evaluation(
      self.metrics | {f"{name}/{k}": v for k, v in other.metrics.items()},
      self.records + other.records,
      self.stderr | {f"{name}/{k}": v for k, v in other.stderr.items()},
    )


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
    raise ValueError(
      "the task has no test problems to evaluate on: give task.args.test_path, "
      "or more problems"
    )
  by_id = {problem.id: problem for problem in problems}
  if len(by_id) < len(problems):
    raise ValueError("two problems of the evaluation set have the same id")
  records: list[dict[str, Any]] = []
  of_source = dict(source_temperatures)
  for own, group in group_by(
    problems, lambda problem: of_source.get(problem.source, temperature)
  ).items():
    prompts = [tokenizer.render(p.prompt, p.system or system) for p in group]
    passes = [(own, samples if own > 0 else 1)]
    if greedy and own > 0:
      passes.append((0.0, 1))
    for at, count in passes:
      generated = generate(prompts, count, at)
      opened = [opened_thinking(tokenizer.decode(p[-8:])) for p in prompts]
      records += _records(group, opened, generated, tokenizer, at, at != own)
  _score_records(records, by_id, score)
  metrics, stderr = summarize(records)
  return Evaluation(metrics, records, stderr)


def generator(
  sampler: Sampler,
  params: Params,
  tokenizer: Tokenizer,
  max_tokens: int,
  top_p: float = 1.0,
  top_k: int = 0,
  progress: Callable[[int, int], None] | None = None,
) -> Generate:
  """Returns the function that `evaluate` samples with.

  Args:
    sampler: of the policy's model.
    params: of the policy.
    tokenizer: names the tokens that end a response.
    max_tokens: of a response.
    top_p: probability mass of the tokens to sample among; 1: all.
    top_k: number of tokens to sample among; 0: all.
    progress: see `Sampler.generate`.
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
    return sampler.generate(params, requests, progress)

  return generate


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
