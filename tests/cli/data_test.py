"""The data command: what files hold, and which rows are kept."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from jaxrl_entropy.cli import data
from jaxrl_entropy.data import prompts
from jaxrl_entropy.errors import UserError


def write(path, rows):
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return str(path)


def read(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def row(i, **rest):
  return {"problem": f"What is {i} plus {i}?", "answer": str(2 * i), **rest}


def test_inspect_counts_and_shows(tmp_path, capsys):
  rows = [row(1), row(2), row(1, url="x"), {"problem": "Why?"}]
  rows += [
    row(3, source="s\x1b[31m"),
    row(4)
    | {"answer": "We prove the claim by induction on the number of vertices"},
  ]
  path = write(tmp_path / "a.jsonl", rows)
  assert data.main(["inspect", path]) == 0
  shown = capsys.readouterr().out
  assert "6 rows, of which 1 repeat another and 1 are not problems" in shown
  assert f"{path}:4: it has none of the fields answer" in shown
  assert "; its fields are problem\n" in shown
  assert "4 problems, 4 questions" in shown
  assert "source: a 3, s\ufffd[31m 1" in shown
  assert "1 references that no answer can match" in shown
  assert f"{path}:6: We prove" in shown
  assert "What is 1 plus 1?" in shown
  assert data.main(["inspect", write(tmp_path / "b.jsonl", [{}])]) == 1


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_filter_keeps_whole_rows_by_the_rate_of_samples(kind, tmp_path, capsys):
  rows = [row(i, extra={"note": i}) for i in range(4)]
  if kind == "jsonl":
    path = write(tmp_path / "a.jsonl", rows)
  else:
    path = str(tmp_path / "a.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
  samples = [
    {
      "prompt": f"What is {i} plus {i}?\n\n{prompts.BOXED}",
      "greedy": False,
      "correct": sample < i,
    }
    for i in range(3)
    for sample in range(2)
  ]
  rates = write(tmp_path / "samples.jsonl", samples)
  output = tmp_path / "out" / "kept.jsonl"
  arguments = ["--rates", rates, "--least=.2", "--most=.8"]
  data.main(["filter", path, *arguments, "--output", str(output)])
  assert read(output) == [rows[1]]
  shown = capsys.readouterr().out
  for count in ("1 below 0.2", "1 kept", "1 above 0.8", "1 without a rate"):
    assert count in shown
  with pytest.raises(UserError, match="there already"):
    data.main(["filter", path, *arguments, "--output", str(output)])


def test_filter_reads_a_column_of_the_rows(tmp_path):
  rows = [row(i, solve_rate=i / 4) for i in range(5)] + [row(9)]
  path = write(tmp_path / "a.jsonl", rows)
  output = tmp_path / "kept.jsonl"
  data.main(
    ["filter", path, "--column=solve_rate", "--most=.5", f"--output={output}"]
  )
  assert read(output) == rows[:3]


def test_rates_of_other_questions_are_told(tmp_path):
  path = write(tmp_path / "a.jsonl", [row(1)])
  rates = write(tmp_path / "r.jsonl", [{"prompt": "Why?", "pass_rate": 1}])
  output = f"--output={tmp_path / 'kept.jsonl'}"
  with pytest.raises(UserError, match="another --instruction"):
    data.main(["filter", path, f"--rates={rates}", output])
  with pytest.raises(UserError, match="lower one first"):
    data.main(["filter", path, f"--rates={rates}", "--least=2", output])
  with pytest.raises(UserError, match="one of the arguments --rates --column"):
    data.main(["filter", path, output])


def test_decontaminate_drops_what_is_evaluated_on(tmp_path, capsys):
  asked = "Let x be the least number of coins that Ann can give to Bob today."
  against = write(tmp_path / "eval.jsonl", [row(1), {"q": 0}] * 1 + [
    {"problem": asked, "answer": "1"}
  ])  # fmt: skip
  rows = [row(1), row(7), {"problem": f"Hard: {asked.upper()}", "answer": "5"}]
  path = write(tmp_path / "a.jsonl", rows)
  output = tmp_path / "clean.jsonl"
  data.main(
    ["decontaminate", path, "--against", against, "--output", str(output)]
  )
  assert read(output) == [rows[1]]
  shown = capsys.readouterr().out
  assert f"{path}:3 ~ {against}:3: let x be the least number" in shown
  assert "2 shared with eval, 1 kept" in shown
  with pytest.raises(UserError, match="no row is a problem"):
    data.main(
      [
        *("decontaminate", path, "--output", str(tmp_path / "b.jsonl")),
        *("--against", write(tmp_path / "none.jsonl", [{}])),
      ]
    )


def test_mistakes_are_one_line():
  with pytest.raises(UserError, match="invalid choice: 'gsm8'"):
    data.main(["inspect", "a.jsonl", "--format=gsm8"])
  with pytest.raises(UserError, match="required: action"):
    data.main([])
