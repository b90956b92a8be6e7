"""Prompt files: the columns that are understood, and rows that are bad."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from configs import eval_maths
from jaxrl_entropy.data import files, problems, prompts, rows
from jaxrl_entropy.data.listed import fit
from jaxrl_entropy.data.tokenizers import SymbolTokenizer
from jaxrl_entropy.rewards import math_answer

DAPO_PROMPT = (
  "Solve the following math problem step by step. The last line of your "
  "response should be of the form Answer: $Answer (without quotes) where "
  "$Answer is the answer to the problem.\n\nWhat is 1+1?\n\nRemember to put "
  'your answer on its own line after "Answer:".'
)
DAPO = {
  "data_source": "math_dapo",
  "prompt": [{"role": "user", "content": DAPO_PROMPT}],
  "reward_model": {"ground_truth": "2", "style": "rule"},
  "extra_info": {"index": "9a9b6eb4"},
}
EURUS = {
  "data_source": "numina_olympiads",
  "prompt": [
    {"role": "system", "content": "[ASSESS] [ADVANCE]"},
    {"role": "user", "content": "Find x. Present the answer in \\boxed{}."},
  ],
  "ability": "math",
  "reward_model": {"ground_truth": "\\frac{1}{2}", "style": "rule"},
}
CASES = {"inputs": ["1\n", "2\n"], "outputs": ["2\n", "3\n"]}
EURUS_CODE = {
  "data_source": "taco",
  "prompt": [{"role": "user", "content": "Add one."}],
  "ability": "code",
  "reward_model": {"ground_truth": json.dumps(CASES)},
}
CALLS = {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}


def read(row):
  return rows.to_problem(
    row, instruction=prompts.BOXED, verifier="math", source="mine", place="f:1"
  )


def write(path, lines):
  path.write_bytes(b"\n".join(lines) + b"\n")
  return str(path)


def good(count):
  return [b'{"problem": "Q%d", "answer": "%d"}' % (i, i) for i in range(count)]


def test_dapo_math():
  problem = read(DAPO)
  assert problem.prompt == f"What is 1+1?\n\n{prompts.BOXED}"
  assert (problem.answer, problem.source) == ("2", "math_dapo")
  assert (problem.id, problem.verifier) == ("f:1", "math")


def test_eurus_mathematics_keeps_its_own_instruction():
  problem = read(EURUS)
  assert problem.prompt == "Find x. Present the answer in \\boxed{}."
  assert problem.answer == "\\frac{1}{2}"


def test_eurus_code():
  problem = read(EURUS_CODE)
  assert problem.verifier == "code"
  assert problem.tests == (
    {"stdin": "1\n", "stdout": "2\n"},
    {"stdin": "2\n", "stdout": "3\n"},
  )
  assert prompts.CODE in problem.prompt
  assert problem.answer == ""
  calls = read({"question": "Add.", "tests": CALLS})
  assert calls.tests == ({"call": "add", "args": [1, 2], "expected": 3},)
  wrapped = read({"question": "Add.", "tests": CALLS | {"outputs": [[3]]}})
  assert wrapped.tests == (
    {"call": "add", "args": [1, 2], "expected": [3], "unwrapped": 3},
  )


@pytest.mark.parametrize(
  ("row", "answer", "difficulty"),
  [
    ({"problem": "Q", "answer": "5", "level": 3}, "5", 3.0),
    ({"problem": "Q", "answer": "5", "level": "Level 4"}, "5", 4.0),
    ({"question": "Q", "final_answer": ["1", "2"]}, "1, 2", None),
    ({"prompt": "Q", "answer": 204}, "204", None),
    ({"problem": "Q", "solution": "Not \\boxed{4} but \\boxed{5}."}, "5", None),
    ({"problem": "Q", "solution": "It is \\fbox{5}."}, "5", None),
    ({"prompt": "Q", "answer": "5", "difficulty": 6.5}, "5", 6.5),
    ({"prompt": "Q", "ground_truth": "a", "level": "?"}, "a", None),
  ],
)
def test_columns_of_evaluation_files(row, answer, difficulty):
  problem = read(row)
  assert (problem.answer, problem.difficulty) == (answer, difficulty)
  assert problem.source == "mine"


@pytest.mark.parametrize(
  ("row", "reason"),
  [
    ([], "not an object"),
    ({"answer": "5"}, "none of the fields prompt"),
    ({"prompt": "Q"}, "none of the fields answer"),
    ({"prompt": "Q", "solution": "It is 5."}, "none of the fields answer"),
    ({"prompt": "Q", "solution": "\\boxed{5"}, "none of the fields answer"),
    ({"prompt": "Q", "solution": "\\boxed{ }"}, "answer is empty"),
    ({"prompt": "Q", "solution": ["\\boxed{5}"], "answer": ""}, "is empty"),
    ({"prompt": " ", "answer": "5"}, "prompt is empty"),
    ({"prompt": "Q", "answer": " "}, "answer is empty"),
    ({"prompt": "Q", "answer": True}, "answer is bool"),
    ({"prompt": "Q", "answer": []}, "answer is list"),
    ({"prompt": 5, "answer": "5"}, "prompt is int"),
    ({"prompt": [], "answer": "5"}, "0 user messages"),
    ({"prompt": [{"role": "user"}], "answer": "5"}, "prompt is NoneType"),
    ({"prompt": "Q", "tests": 5}, "tests are int"),
    ({"prompt": "Q", "tests": "5 -> 6"}, "tests are no JSON"),
    ({"prompt": "Q", "tests": {"inputs": "12", "outputs": "34"}}, "no lists"),
    ({"prompt": "Q", "tests": {"inputs": ["1"], "outputs": []}}, "0 outputs"),
    ({"prompt": "Q", "tests": ["1"]}, "unknown form"),
    ({"prompt": "Q", "tests": [{"stdin": "1"}]}, "unknown form"),
    ({"prompt": "Q", "tests": [{"call": "f", "args": []}]}, "unknown form"),
    ({"prompt": "Q", "tests": [{"check": ""}]}, "unknown form"),
    ({"prompt": "Q", "tests": [{"stdin": 5, "stdout": "5"}]}, "unknown form"),
    ({"prompt": "Q", "tests": CALLS | {"inputs": ["ab"]}}, "unknown form"),
    ({"prompt": "Q", "answer": '{"inputs": [], "outputs": []}'}, "no test"),
    ({"prompt": "Q", "answer": float("nan")}, "answer is nan"),
    ({"prompt": "Q", "answer": "5", "source": {"a": 1}}, "source is"),
    ({"prompt": "Q", "answer": "5", "data_source": ""}, "source is"),
  ],
)
def test_bad_rows_say_why(row, reason):
  with pytest.raises(rows.RowError, match=reason):
    read(row)


def test_bad_lines_are_counted_and_named(tmp_path):
  lines = [*good(98), b"{not json", b'{"problem": "\xff", "answer": "1"}']
  path = write(tmp_path / "set.jsonl", lines)
  with pytest.warns(UserWarning, match=r"2 of 100 rows") as caught:
    task = files.Files(path, test_size=10, max_bad=0.02)
  assert f"{path}:99: " in str(caught[0].message)
  assert f"{path}:100: " in str(caught[0].message)
  assert (task.size("train"), task.size("test")) == (88, 10)
  with pytest.raises(ValueError, match="max_bad"):
    files.Files(path, max_bad=0.01)


@pytest.mark.parametrize(
  "line",
  [
    b"[" * 100_000,
    rb'{"problem": "\ud800", "answer": "1"}',
    rb'{"problem": "Q", "answer": "\ud800"}',
    rb'{"problem": "Q", "answer": "1", "source": "\ud800"}',
  ],
)
def test_lines_that_break_the_parser_are_bad_rows(line, tmp_path):
  path = write(tmp_path / "set.jsonl", [*good(1), line])
  with pytest.warns(UserWarning, match=r"1 of 2 rows"):
    files.Files(path, test_size=0, max_bad=0.5)


def test_empty_lines_are_no_rows(tmp_path):
  path = write(tmp_path / "set.jsonl", [*good(3), b"", b"  "])
  assert files.Files(path, test_size=1).size("train") == 2


def test_files_without_problems_are_refused(tmp_path):
  with pytest.raises(ValueError, match="no problems"):
    files.Files(write(tmp_path / "empty.jsonl", [b""]))
  with pytest.raises(ValueError, match="nowhere"):
    files.Files(str(tmp_path / "nowhere*.jsonl"))


def test_settings_that_cannot_be_are_named(tmp_path):
  path = write(tmp_path / "set.jsonl", good(2))
  with pytest.raises(ValueError, match="is a folder"):
    files.Files(str(tmp_path))
  with pytest.raises(ValueError, match="test_size=-1"):
    files.Files(path, test_size=-1)
  with pytest.raises(ValueError, match="max_bad=2"):
    files.Files(path, max_bad=2)


def test_parquet_holds_what_json_lines_hold(tmp_path):
  table = pyarrow.Table.from_pylist([DAPO, EURUS])
  pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
  lines = [json.dumps(row).encode() for row in (DAPO, EURUS)]
  write(tmp_path / "a.jsonl", lines)
  tasks = [
    files.Files("", test_path=str(tmp_path / name), max_bad=0)
    for name in ("a.parquet", "a.jsonl")
  ]
  for i in range(2):
    one, other = (task.problem("test", i) for task in tasks)
    assert (one.prompt, one.answer, one.source) == (
      other.prompt,
      other.answer,
      other.source,
    )


def test_bad_text_in_parquet_costs_its_own_row(tmp_path):
  texts = pyarrow.array([b"one", b"\xff", b"three"]).view(pyarrow.string())
  table = pyarrow.table({"problem": texts, "answer": ["1", "2", "3"]})
  path = tmp_path / "a.parquet"
  pyarrow.parquet.write_table(table, path)
  with pytest.warns(UserWarning, match="1 of 3 rows") as caught:
    task = files.Files(str(path), test_size=0, max_bad=0.5)
  assert f"{path}:2: " in str(caught[0].message)
  assert [task.problem("train", i).answer for i in range(2)] == ["1", "3"]
  path.write_bytes(b"no parquet")
  with pytest.raises(ValueError, match=r"a\.parquet"):
    files.Files(str(path))


def test_the_split_depends_on_prompts_alone(tmp_path):
  one = files.Files(write(tmp_path / "a.jsonl", good(50)), test_size=9)
  two = files.Files(write(tmp_path / "b.jsonl", good(50)[::-1]), test_size=9)

  def held_out(task):
    return {task.problem("test", i).prompt for i in range(9)}

  assert held_out(one) == held_out(two)


def test_too_long_prompts_are_left_out_and_counted(tmp_path):
  lines = [
    b'{"problem": "%s", "answer": "1"}' % (b"a " * n) for n in range(1, 9)
  ]
  task = files.Files(
    write(tmp_path / "a.jsonl", lines), test_size=0, instruction=""
  )
  with pytest.warns(
    UserWarning, match="3 of 8 train prompts are longer than 5"
  ):
    fitting = fit(task, SymbolTokenizer("a"), 5)
  assert fitting.size("train") == 5


def test_demonstrations_are_refused(tmp_path):
  task = files.Files(write(tmp_path / "a.jsonl", good(3)))
  with pytest.raises(ValueError, match=r"pretrain\.steps"):
    task.demonstrations(None, 1, 0.0)


# A row of our own in the format of each set.
SAMPLES = {
  "aime24": {"id": 60, "problem": "What is 2+2?", "answer": 204},
  "aime25": {"problem": "What is 2+2?", "answer": "204"},
  "amc": {"id": 0, "problem": "What is 2+2?", "answer": 204.0, "url": ""},
  "math500": {
    "problem": "What is 2+2?",
    "solution": "It is $\\boxed{204}$.",
    "answer": "204",
    "subject": "Algebra",
    "level": 2,
    "unique_id": "test/algebra/1.json",
  },
  "omni_math": {
    "domain": ["Mathematics -> Algebra"],
    "difficulty": 8.0,
    "problem": "What is 2+2?",
    "solution": "204.",
    "answer": "204",
    "source": "imo",
  },
  "olympiad_bench": {
    "id": 1606,
    "question": "What is 2+2?",
    "solution": ["204."],
    "final_answer": ["204"],
    "subfield": "Algebra",
  },
  "minerva": {"problem": "What is 2+2?", "answer": "204", "type": "physics"},
}


@pytest.mark.parametrize("name", eval_maths.SETS)
def test_the_formats_of_the_evaluation_sets(name, tmp_path):
  config = eval_maths.get_config(name)
  path = write(tmp_path / f"{name}.jsonl", [json.dumps(SAMPLES[name]).encode()])
  config.task.args.test_path = path
  task = problems.resolve(config.task.name, config.task.args)
  assert (task.size("train"), task.size("test")) == (0, 1)
  problem = task.problem("test", 0)
  assert problem.prompt == f"What is 2+2?\n\n{prompts.BOXED}"
  assert math_answer.decide(problem, "\\boxed{204}") == 1
  assert config.eval.samples == (1 if config.eval.temperature == 0 else 32)
