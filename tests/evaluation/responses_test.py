"""Accuracy, pass@k and their breakdown."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from jaxrl_entropy.cli import evaluation as command
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tokenizers import SymbolTokenizer
from jaxrl_entropy.evaluation import (
  evaluate,
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


def test_metrics_of_a_known_policy():
  problems = [problem(i) for i in range(4)]
  generate = answers(lambda i, temperature: i if temperature else i == 3)
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


def test_evaluations_stand_beside_each_other():
  problems = [problem(i) for i in range(4)]
  generate = answers(lambda i, temperature: i if temperature < 1 else 1)
  cold, hot = (
    evaluate(generate, TOKENIZER, problems, score, samples=4, temperature=t)
    for t in (0.6, 1.0)
  )
  both = cold.beside("at_1", hot)
  assert both.metrics["accuracy"] == cold.metrics["accuracy"] == 6 / 16
  assert both.metrics["at_1/accuracy"] == 0.25
  assert both.table["at_1/pass@4_stderr"] == hot.stderr["pass@4"] == 0
  assert both.table["pass@4_stderr"] == cold.stderr["pass@4"] > 0
  assert both.records == cold.records + hot.records


def test_sources_have_their_own_temperature_and_metrics():
  problems = [problem(0, "hot"), problem(0, "cold"), problem(1, "cold")]
  seen = []

  def generate(prompts, samples, temperature):
    seen.append((len(prompts), samples, temperature))
    return answers(lambda i, temperature: 1)(prompts, samples, temperature)

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
  generate = answers(lambda i, temperature: i % 2)
  metrics = evaluate(generate, TOKENIZER, few, score).metrics
  assert metrics["difficulty/0/accuracy"] == 0.0
  assert metrics["difficulty/1/accuracy"] == 1.0
  many = [problem(i, difficulty=i / 10) for i in range(40)]
  generate = answers(lambda i, temperature: i < 10)
  metrics = evaluate(generate, TOKENIZER, many, score).metrics
  buckets = [v for k, v in metrics.items() if k.startswith("difficulty/")]
  assert buckets == [1.0, 0.0, 0.0, 0.0]


def test_mistakes_are_named():
  with pytest.raises(ValueError, match="the task has no test problems"):
    evaluate(answers(int), TOKENIZER, [], score)
  with pytest.raises(ValueError, match="same id"):
    evaluate(answers(int), TOKENIZER, [problem(0), problem(0)], score)


def test_results_are_written_and_tabled(tmp_path):
  problems = [problem(i, source) for i in range(2) for source in ("a", "b\x1b")]
  result = evaluate(
    answers(lambda i, temperature: 1), TOKENIZER, problems, score
  )
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
