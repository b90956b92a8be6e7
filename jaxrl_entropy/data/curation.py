"""Choosing problems: by how often a policy solves them, and by overlap."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
import json
from pathlib import Path
import re
from typing import Any

from jaxrl_entropy.data import reading
from jaxrl_entropy.data.prompts import CODE
from jaxrl_entropy.data.table import question_hash
from jaxrl_entropy.data.task import Problem

MIN_WORDS = 3  # of an evaluation question that is looked for
MAX_SHARED = 2  # evaluation questions; an n-gram of more is a common phrase

_WORD = re.compile(r"\w+")


def pass_rates(path: Path) -> dict[int, float]:
  """Returns the share of right responses to each question.

  Args:
    path: the samples that `evaluate` wrote, one line for each response, of
      which greedy ones do not count; or rows with `prompt` and `pass_rate`.

  Returns:
    `question_hash` of a problem -> its rate.

  Raises:
    ValueError: naming the line that is neither.
  """
  rates: dict[int, list[float]] = defaultdict(list)
  for row in reading.rows(path, whole=True):
    try:
      record = row.load()
      if not record.get("greedy"):
        rates[_asked(record)].append(_rate(record))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      raise ValueError(
        f"{path}:{row.line}: not a sample of evaluate's, and no row with "
        f"prompt and pass_rate ({type(error).__name__}: {error})"
      ) from error
  return {question: sum(r) / len(r) for question, r in rates.items()}


def _asked(record: Mapping[str, Any]) -> int:
  system = record.get("system") or ""
  return question_hash(Problem("", record["prompt"], "", "", "", system=system))


def _rate(record: Mapping[str, Any]) -> float:
  rate = float(
    record["correct"] if "correct" in record else record["pass_rate"]
  )
  if not 0 <= rate <= 1:
    raise ValueError(f"the rate is {rate}, not from 0 to 1")
  return rate


class Overlap:
  """Finds questions that share `size` words in a row with evaluation questions.

  An evaluation question with fewer words, at least `MIN_WORDS`, must be
  contained as a whole. Words in a row that more than `MAX_SHARED` evaluation
  questions have are a phrase of such questions, such as "relatively prime
  positive integers, find m + n", and do not count.

  Args:
    problems: of the evaluation sets.
    size: words in a row.

  References:
    DeepSeekMath, section 2.1 (arXiv 2402.03300) uses 10 words.
  """

  def __init__(self, problems: Iterable[Problem], size: int = 10):
    if size < MIN_WORDS:
      raise ValueError(f"size={size}: give {MIN_WORDS} words or more")
    self._size = size
    asked = {_words(problem): problem for problem in problems}
    owners: dict[tuple[str, ...], list[Problem]] = defaultdict(list)
    for words, problem in asked.items():
      if len(words) >= MIN_WORDS:
        for gram in set(_grams(words, min(size, len(words)))):
          owners[gram].append(problem)
    self._owner = {
      gram: problems[0]
      for gram, problems in owners.items()
      if len(problems) <= MAX_SHARED or len(gram) < size
    }
    self._sizes = sorted({len(gram) for gram in self._owner}, reverse=True)

  def find(self, problem: Problem) -> tuple[Problem, str] | None:
    """Returns an evaluation problem and the words shared with it, or None."""
    words = _words(problem)
    for size in self._sizes:
      for gram in _grams(words, size):
        if gram in self._owner:
          return self._owner[gram], " ".join(gram)
    return None


def _words(problem: Problem) -> tuple[str, ...]:
  question = problem.prompt.removesuffix(CODE)
  return tuple(_WORD.findall(question.lower()))


def _grams(words: tuple[str, ...], size: int) -> Iterator[tuple[str, ...]]:
  return (words[i : i + size] for i in range(len(words) - size + 1))


def to_json(row: Any) -> str:
  """Returns a row of any file as one line of JSON."""
  return json.dumps(row, default=str)
