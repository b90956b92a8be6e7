"""The task of files: what is read, held out, left out and reported."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest

from jaxrl_entropy.data import files, table
from jaxrl_entropy.data.tasks.listed import fit
from jaxrl_entropy.data.tokenizers import SymbolTokenizer
from tests.data.layouts import MATHEMATICS, PROGRAMS


def write(path, lines):
  path.write_bytes(b"\n".join(lines) + b"\n")
  return str(path)


def good(count):
  return [b'{"problem": "Q%d", "answer": "%d"}' % (i, i) for i in range(count)]


def test_bad_lines_are_counted_and_named(tmp_path):
  lines = [*good(98), b"{not json", b'{"problem": "\xff", "answer": "1"}']
  path = write(tmp_path / "set.jsonl", lines)
  task = files.Files(path, test_size=10, max_bad=0.02)
  with pytest.warns(UserWarning, match=r"2 of 100 rows") as caught:
    sizes = task.size("train"), task.size("test")
  assert f"{path}:99: " in str(caught[0].message)
  assert f"{path}:100: " in str(caught[0].message)
  assert sizes == (88, 10)
  with pytest.raises(ValueError, match="max_bad"):
    files.Files(path, max_bad=0.01).size("train")


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
    assert files.Files(path, test_size=0, max_bad=0.5).size("train") == 1


def test_empty_lines_are_no_rows(tmp_path):
  path = write(tmp_path / "set.jsonl", [*good(3), b"", b"  "])
  assert files.Files(path, test_size=1).size("train") == 2


def test_files_without_problems_are_refused(tmp_path):
  with pytest.raises(ValueError, match="no problems"):
    files.Files(write(tmp_path / "empty.jsonl", [b""])).size("train")
  with pytest.raises(ValueError, match="nowhere"):
    files.Files(str(tmp_path / "nowhere*.jsonl")).size("train")
  with pytest.raises(ValueError, match=r"args\.path or args\.test_path"):
    files.Files("")


def test_settings_that_cannot_be_are_named(tmp_path):
  path = write(tmp_path / "set.jsonl", good(2))
  with pytest.raises(ValueError, match="is a folder"):
    files.Files(str(tmp_path)).size("train")
  with pytest.raises(ValueError, match="test_size=-1"):
    files.Files(path, test_size=-1)
  with pytest.raises(ValueError, match="max_bad=2"):
    files.Files(path, max_bad=2)
  with pytest.raises(ValueError, match="did you mean 'taco'"):
    files.Files(path, format="tacos")


def _every_layout():
  """A JSON object of each layout, with its own question."""
  layouts = [*MATHEMATICS.values(), *PROGRAMS.values()]
  rows = [row for found in layouts for row, _ in found if isinstance(row, dict)]
  return [json.loads(json.dumps(row)) for row in rows]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl.gz", "a.parquet"])
def test_files_of_every_kind_hold_what_json_lines_hold(name, tmp_path):
  for i, row in enumerate(_every_layout()):
    lines = tmp_path / f"{i}.jsonl"
    lines.write_text(json.dumps(row))
    same = tmp_path / f"{i}-{name}"
    if name == "a.json":
      same.write_text(json.dumps([row], indent=2))
    elif name == "a.jsonl.gz":
      same.write_bytes(gzip.compress(lines.read_bytes()))
    else:
      pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), same)
    one, other = (
      files.Files("", test_path=str(path), max_bad=0).problem("test", 0)
      for path in (lines, same)
    )
    assert (one.prompt, one.answer, one.tests, one.extra, one.difficulty) == (
      other.prompt,
      other.answer,
      other.tests,
      other.extra,
      other.difficulty,
    )


def test_the_lines_of_an_array_are_named(tmp_path):
  path = tmp_path / "a.json"
  path.write_text('\ufeff[\n {"problem": "Q",\n  "answer": "1"},\n {}\n]\n')
  task = files.Files(str(path), test_size=0, max_bad=0.5)
  with pytest.warns(UserWarning, match=r"a\.json:4: it has none"):
    assert task.problem("train", 0).id == f"{path}:2"
  path.write_text('[{"problem": "Q"},\n {"problem": ]')
  with pytest.raises(ValueError, match=r"a\.json:2: "):
    files.Files(str(path)).size("train")
  path.write_text('[{"problem": "Q", "answer": "1"}')
  with pytest.raises(ValueError, match="has no end"):
    files.Files(str(path)).size("train")


def test_one_object_alone_is_a_problem(tmp_path):
  path = tmp_path / "1.json"
  path.write_text('{\n "problem": "Q",\n "solution": "\\\\boxed{3}"\n}')
  task = files.Files("", test_path=str(path))
  assert task.problem("test", 0).answer == "3"


def test_cells_of_csv(tmp_path):
  path = tmp_path / "aime.csv"
  path.write_text('ID,Year,Question,Answer\n1,1999,"a,\nb?",7\n2,1999,c?,8\n')
  task = files.Files("", test_path=str(path))
  assert [task.problem("test", i).answer for i in range(2)] == ["7", "8"]
  assert task.problem("test", 0).prompt.startswith("a,\nb?")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_byte_order_mark_costs_no_row(name, tmp_path):
  path = write(tmp_path / name, [b"\xef\xbb\xbf" + good(1)[0], *good(3)[1:]])
  assert files.Files(path, test_size=0, max_bad=0).size("train") == 3


def test_rows_that_repeat_another_are_left_out(tmp_path):
  lines = [*good(20)] * 5 + [b'{"problem": "Q1", "answer": "other"}']
  path = write(tmp_path / "a.jsonl", lines)
  task = files.Files(path, test_size=4)
  with pytest.warns(UserWarning, match="80 of 101 rows repeat another"):
    sizes = task.size("train"), task.size("test")
  questions = {
    split: {task.problem(split, i).prompt for i in range(task.size(split))}
    for split in ("train", "test")
  }
  assert sum(sizes) == 21
  assert len(questions["test"]) == 4
  assert not questions["test"] & questions["train"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  monkeypatch.setattr(files, "CACHED_BYTES", 1)
  return table.cache_folder()


def test_large_files_are_read_once(tmp_path, cache, monkeypatch):
  path = write(tmp_path / "a.jsonl", [*good(30), b"{}", *good(30)])

  def load():
    task = files.Files(path, test_size=9, max_bad=0.5)
    with (
      pytest.warns(UserWarning, match="30 of 61 rows repeat another"),
      pytest.warns(UserWarning, match="1 of 61 rows are not problems"),
    ):
      sizes = {split: task.size(split) for split in ("train", "test")}
    return [
      task.problem(split, i) for split in sizes for i in range(sizes[split])
    ]

  first = load()
  assert len(first) == 30
  monkeypatch.setattr(files.reading, "rows", None)
  assert load() == first
  monkeypatch.undo()
  assert len(list(cache.iterdir())) == 1


def test_a_changed_file_is_read_again(tmp_path, cache):
  for count in (3, 4):
    path = write(tmp_path / "a.jsonl", good(count))
    assert files.Files(path, test_size=0).size("train") == count


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, cache):
  cache.parent.mkdir(parents=True)
  cache.write_text("in the way")
  path = write(tmp_path / "a.jsonl", good(3))
  assert files.Files(path, test_size=0).size("train") == 3


def test_training_files_are_not_read_to_evaluate(tmp_path):
  path = write(tmp_path / "test.jsonl", good(3))
  task = files.Files("nowhere.jsonl", test_path=path)
  fitting = fit(task, lambda problem: [0], 5)
  assert fitting.size("test") == 3
  with pytest.raises(ValueError, match="nowhere"):
    fitting.size("train")


def test_bad_text_in_parquet_costs_its_own_row(tmp_path):
  texts = pyarrow.array([b"one", b"\xff", b"three"]).view(pyarrow.string())
  table = pyarrow.table({"problem": texts, "answer": ["1", "2", "3"]})
  path = tmp_path / "a.parquet"
  pyarrow.parquet.write_table(table, path)
  task = files.Files(str(path), test_size=0, max_bad=0.5)
  with pytest.warns(UserWarning, match="1 of 3 rows") as caught:
    task.size("train")
  assert f"{path}:2: " in str(caught[0].message)
  assert [task.problem("train", i).answer for i in range(2)] == ["1", "3"]
  path.write_bytes(b"no parquet")
  with pytest.raises(ValueError, match=r"a\.parquet"):
    files.Files(str(path)).size("train")


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
  tokenizer, rendered = SymbolTokenizer("a"), []

  def render(problem):
    rendered.append(problem.prompt)
    return tokenizer.render(problem.prompt)

  fitting = fit(task, render, 5)
  with pytest.warns(
    UserWarning, match="3 of 8 train prompts are longer than 5"
  ):
    assert fitting.size("train") == 5
  # Up to five bytes fit without being rendered; "" shows the template.
  assert sorted(map(len, rendered)) == [0, 7, 9, 11, 13, 15]


def test_prompts_that_are_all_too_long_are_refused(tmp_path):
  task = files.Files(write(tmp_path / "a.jsonl", good(3)), test_size=0)
  fitting = fit(task, lambda problem: range(9), 8)
  with pytest.raises(
    ValueError, match=r"all 3 train prompts .* raise rollout.max_prompt_length"
  ):
    fitting.size("train")


def test_demonstrations_are_refused(tmp_path):
  task = files.Files(write(tmp_path / "a.jsonl", good(3)))
  with pytest.raises(ValueError, match=r"sft\.steps"):
    task.demonstrations(None, 1, 0.0)


def test_long_tests_are_not_read_for_the_length_of_a_prompt(tmp_path):
  row = {"problem": "Add one.", "tests": [{"stdin": "1", "stdout": "2"}]}
  path = write(tmp_path / "a.jsonl", [json.dumps(row).encode()])
  problems = files.Files("", test_path=path).fixed("test")[0]
  assert table.brief(problems, 0).prompt == problems[0].prompt
  assert table.brief(problems, 0).tests == ()
  assert len(problems[0].tests) == 1
  assert table.brief(list(problems), 0) == problems[0]
