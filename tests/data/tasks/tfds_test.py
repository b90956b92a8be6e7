"""TFDS without TensorFlow."""

import sys

import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks import tfds
from jaxrl_entropy.data.tasks.listed import Listed


def problems(count):
  return [
    Problem(
      f"id{i}", f"What? é{i}", str(i), "mine", "code", None if i else 2.5,
      tests=({"stdin": str(i), "stdout": "1"},), extra={"scoring": "all"},
      system="Be brief." * (i % 2),
    )
    for i in range(count)
  ]  # fmt: skip


def test_problems_survive_a_build(tmp_path):
  train = problems(40)
  folder = tfds.build(Listed({"train": train, "test": train[:3]}), tmp_path)
  task = tfds.Tfds("", str(folder))
  assert (task.size("train"), task.size("test")) == (40, 3)
  assert [task.problem("train", i) for i in range(40)] == train
  assert list(folder.glob("*array_record*"))
  assert "tensorflow" not in sys.modules


def test_what_is_not_prepared_is_named(tmp_path):
  with pytest.raises(ValueError, match=r"not prepared .*download_and_prep"):
    tfds.Tfds("gsm8k", str(tmp_path))
  with pytest.raises(ValueError, match="nonesuch"):
    tfds.Tfds("nonesuch", str(tmp_path))
  with pytest.raises(ValueError, match=str(tmp_path)):
    tfds.Tfds("", str(tmp_path))


def test_what_only_tensorflow_reads_is_named(tmp_path):
  folder = tmp_path / "gsm8k" / "1.0.0"
  folder.mkdir(parents=True)
  (folder / "gsm8k-train.tfrecord-00000-of-00001").touch()
  with pytest.raises(ValueError, match=r"stored as tfrecord, .*'array_record'"):
    tfds.Tfds("gsm8k", str(tmp_path))


@pytest.mark.parametrize(
  "row",
  [
    {"question": "Q", "answer": "6 * 7 = 42\n#### 42", "short_answer": "42"},
    {"question": "Q", "answer": "so\n#### 42"},
    {"question": "Q", "answer": "42"},
  ],
)
def test_rows_of_gsm8k_and_of_the_mathematics_dataset(row):
  settings = {"instruction": "", "verifier": "math"}
  problem = tfds._question("gsm8k", settings, "test", 3, row)
  assert (problem.prompt, problem.answer) == ("Q", "42")
  assert (problem.source, problem.id) == ("gsm8k", "gsm8k/test/3")


def test_a_row_without_an_answer_is_named():
  row = {"question": "Q", "answer": "so\n#### "}
  settings = {"instruction": "", "verifier": "math"}
  with pytest.raises(ValueError, match="gsm8k/test/3: the answer is empty"):
    tfds._question("gsm8k", settings, "test", 3, row)
