"""Published evaluation sets: their rows are read and judged."""

import json

import pytest

from configs import common, evaluation
from jaxrl_entropy.config import finalize
from jaxrl_entropy.data import prompts
from jaxrl_entropy.data.task import resolve
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.rewards import catalog
from jaxrl_entropy.rewards.verifiers import math_answer
from tests.data.layouts import ASSERTED, MATHEMATICS, PROGRAMS

QUESTION = "What is 1+1?"
ROWS = {
  "aime24": {"ID": "2024-I-1", "Problem": QUESTION, "Answer": 204},
  "aime25": {"problem": QUESTION, "answer": "204"},
  "amc23": {"id": 0, "question": QUESTION, "answer": 204.0, "url": ""},
  "math500": {
    "problem": QUESTION,
    "solution": "It is $\\boxed{204}$.",
    "answer": "204",
    "level": 2,
  },
  "omni_math": {
    "domain": ["Mathematics -> Algebra"],
    "difficulty": 8.0,
    "problem": QUESTION,
    "answer": "204",
    "source": "imo",
  },
  "olympiad_bench": MATHEMATICS["olympiad_bench"][0][0]
  | {"final_answer": ["204"]},
  "minerva": {"problem": QUESTION, "solution": "So \\boxed{204}.", "idx": 3},
  "gsm8k": {"question": QUESTION, "answer": "200+4=<<200+4=204>>\n#### 204"},
  "human_eval": ASSERTED["humaneval"][0],
  "live_code_bench": PROGRAMS["livecodebench"][0][0],
}


@pytest.mark.parametrize("name", evaluation.SETS)
def test_rows_of_the_sets_are_read(name, tmp_path):
  path = tmp_path / f"{name}.jsonl"
  path.write_text(json.dumps(ROWS[name]))
  config = evaluation.get_config(name)
  finalize(config)
  config.task.args.test_path = str(path)
  task = resolve(config.task.name, config.task.args)
  assert (task.size("train"), task.size("test")) == (0, 1)
  problem = task.problem("test", 0)
  if name in evaluation.PROGRAMS:
    assert problem.verifier == "code"
    assert problem.tests
  else:
    assert problem.prompt == f"{QUESTION}\n\n{prompts.BOXED}"
    assert problem.verifier in catalog.SANDBOXED
    assert math_answer.decide_equal(problem, "\\boxed{204}") == 1


def test_a_protocol_replaces_the_settings_of_a_set():
  own, qwen3 = map(evaluation.get_config, ("aime24", "aime24:qwen3"))
  assert (own.eval.samples, own.eval.top_p, own.eval.top_k) == (32, 1.0, 0)
  assert (qwen3.eval.samples, qwen3.eval.top_p) == (64, 0.95)
  assert (qwen3.eval.top_k, qwen3.eval.max_response_length) == (20, 32768)


def test_mistakes_are_named():
  with pytest.raises(UserError, match="did you mean 'aime25'"):
    evaluation.get_config("aime26")
  with pytest.raises(UserError, match="did you mean 'qwen3'"):
    evaluation.get_config("aime24:qwen")


def test_the_paper_s_runs_are_evaluated_as_in_the_paper():
  config = common.qwen2_5_7b("kl_cov")
  assert config.eval.source_temperatures == (
    ("aime24", 0.6),
    ("aime25", 0.6),
    ("amc23", 0.6),
  )
  assert (config.eval.temperature, config.eval.samples) == (0.0, 32)
