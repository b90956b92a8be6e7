"""Accuracy, pass@k and their breakdown."""

from itertools import combinations
import json
from types import SimpleNamespace

import numpy as np
import pytest

from jaxrl_entropy.cli import evaluate as command
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tokenizers import SymbolTokenizer
from jaxrl_entropy.evaluation import (
  evaluate,
  majority,
  pass_at_k,
  summarise,
)
from jaxrl_entropy.rewards.pool import Verdict

TOKENIZER = SymbolTokenizer(("?", "right", "wrong"))


def problem(index, source="one", difficulty=None):
  return Problem(f"{source}{index}", "?", "right", source, "x", difficulty)


def answers(plan):
  """Generates, for the i-th prompt asked, `plan(i, temperature)` right ones."""

  def generate(prompts, samples, temperature):
    def sample(right):
      text = "right" if right else "wrong"
      return SimpleNamespace(
        tokens=[*TOKENIZER.encode(text), TOKENIZER.eos_id],
        finish="stop" if right else "length",
      )

    return [
      [sample(k < plan(i, temperature)) for k in range(samples)]
      for i in range(len(prompts))
    ]

  return generate


def score(items):
  return [
    Verdict(float(response == p.answer), response == p.answer)
    for p, response in items
  ]


@pytest.mark.parametrize("right", range(6))
@pytest.mark.parametrize("k", [1, 2, 5])
def test_pass_at_k_counts_the_subsets_with_a_right_sample(right, k):
  subsets = list(combinations([True] * right + [False] * (5 - right), k))
  expected = np.mean([any(subset) for subset in subsets])
  assert pass_at_k(5, right, k) == pytest.approx(expected)


def test_pass_at_k_needs_k_samples():
  with pytest.raises(ValueError, match="pass@4"):
    pass_at_k(3, 1, 4)


def test_metrics_of_a_known_policy():
  problems = [problem(i) for i in range(4)]
  generate = answers(lambda i, heat: i if heat else i == 3)
  result = evaluate(generate, TOKENIZER, problems, score, samples=4)
  metrics = result.metrics
  assert metrics["accuracy"] == pytest.approx((0 + 1 + 2 + 3) / 16)
  assert metrics["pass@1"] == metrics["accuracy"]
  assert metrics["pass@2"] == pytest.approx((0 + 0.5 + 5 / 6 + 1) / 4)
  assert metrics["pass@4"] == 0.75
  assert metrics["greedy"] == 0.25
  assert metrics["truncated"] == pytest.approx(10 / 16)
  assert metrics["length"] == 2
  spread = np.std([0, 0.25, 0.5, 0.75], ddof=1) / 2
  assert metrics["accuracy_stderr"] == pytest.approx(spread)
  assert result.stderr["accuracy"] == metrics["accuracy_stderr"]
  assert result.stderr["pass@4"] == pytest.approx(0.25)
  assert len(result.records) == 4 * 5
  assert json.loads(json.dumps(result.records)) == result.records
  assert {r["response"] for r in result.records} == {"right", "wrong"}


def test_sources_have_their_own_temperature_and_metrics():
  problems = [problem(0, "hot"), problem(0, "cold"), problem(1, "cold")]
  seen = []

  def generate(prompts, samples, temperature):
    seen.append((len(prompts), samples, temperature))
    return answers(lambda i, heat: 1)(prompts, samples, temperature)

  result = evaluate(
    generate,
    TOKENIZER,
    problems,
    score,
    samples=4,
    temperature=0.0,
    source_temperatures=[("hot", 0.6)],
  )
  assert sorted(seen) == [(1, 1, 0.0), (1, 4, 0.6), (2, 1, 0.0)]
  assert result.metrics["hot/accuracy"] == 0.25
  assert result.metrics["cold/accuracy"] == 1.0
  assert result.metrics["accuracy"] == pytest.approx(0.75)
  assert result.metrics["hot/pass@4"] == 1.0
  assert "cold/pass@4" not in result.metrics
  assert result.metrics["cold/greedy"] == result.metrics["greedy"] == 1.0


def test_difficulty_by_value_or_by_quartile():
  few = [problem(i, difficulty=float(i % 2)) for i in range(8)]
  generate = answers(lambda i, heat: i % 2)
  metrics = evaluate(generate, TOKENIZER, few, score).metrics
  assert metrics["difficulty/0/accuracy"] == 0.0
  assert metrics["difficulty/1/accuracy"] == 1.0
  many = [problem(i, difficulty=i / 10) for i in range(40)]
  generate = answers(lambda i, heat: i < 10)
  metrics = evaluate(generate, TOKENIZER, many, score).metrics
  buckets = [v for k, v in metrics.items() if k.startswith("difficulty/")]
  assert buckets == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
  ("answers", "right", "chance"),
  [
    (["4", "4", "5"], [True, True, False], 1.0),
    (["5", "5", "4"], [False, False, True], 0.0),
    # Two spellings of the right answer are one answer.
    (["1/2", "0.5", "3", "3"], [True, True, False, False], 0.5),
    (["4", "5", "6"], [True, False, False], 1 / 3),
    ([None, None, "5", "4", "4"], [False, False, False, True, True], 1.0),
    ([None, None, None], [False, False, False], 0.0),
  ],
)
def test_a_majority_votes(answers, right, chance):
  assert majority(answers, right) == pytest.approx(chance)


def test_majority_is_reported_where_answers_are_boxed():
  rows = [
    {
      "id": "a",
      "source": "s",
      "difficulty": None,
      "greedy": False,
      "temperature": 1.0,
      "response": response,
      "correct": right,
      "finish": "stop",
      "length": 1,
      "error": None,
    }
    for response, right in (
      ("\\boxed{ 1/ 2}", True), ("\\boxed{3}", False), ("\\boxed{0.5}", True)
    )
  ]  # fmt: skip
  assert summarise(rows)[0]["maj@3"] == 1.0
  plain = [row | {"response": "right"} for row in rows]
  assert "maj@3" not in summarise(plain)[0]
  # The standard error of one problem is not known.
  assert summarise(rows)[1] == {}


def test_mistakes_are_named():
  with pytest.raises(ValueError, match="no problems"):
    evaluate(answers(int), TOKENIZER, [], score)
  with pytest.raises(ValueError, match="same id"):
    evaluate(answers(int), TOKENIZER, [problem(0), problem(0)], score)


def test_results_are_written_and_tabled(tmp_path):
  problems = [problem(i, source) for i in range(2) for source in ("a", "b\x1b")]
  result = evaluate(answers(lambda i, heat: 1), TOKENIZER, problems, score)
  command.write(result, tmp_path)
  lines = (tmp_path / command.SAMPLES).read_text().splitlines()
  assert [json.loads(line) for line in lines] == result.records
  metrics = json.loads((tmp_path / command.METRICS).read_text())
  assert result.metrics.items() <= metrics.items()
  assert metrics["pass@1_stderr"] == result.stderr["pass@1"]
  header, *rows = command.table(result).splitlines()
  assert header.split()[:2] == ["accuracy", "pass@1"]
  assert [row.split()[0] for row in rows] == ["all", "a", "b\ufffd"]
  assert "±" in rows[0]
  assert len({len(row) for row in (header, *rows)}) == 1
