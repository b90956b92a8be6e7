"""Tasks by name."""

import pytest

from jaxrl_entropy.data import task as task_lib

NEED_FILES = {
  "files",
  "traces",
  "tfds",
  "mixture",
  "gym",
  "human_eval",
  "champ",
}
PROCEDURAL = sorted(set(task_lib.TASKS) - NEED_FILES)


def own_task(size):
  """A user's own task."""
  return {"size": size}


@pytest.mark.parametrize("name", PROCEDURAL)
def test_problems_are_a_function_of_seed_split_and_index(name):
  one, same, other = (task_lib.resolve(name, {"seed": s}) for s in (0, 0, 1))
  indices = range(30)
  drawn = [one.problem("train", i) for i in indices]
  assert drawn == [same.problem("train", i) for i in reversed(indices)][::-1]
  assert drawn != [other.problem("train", i) for i in indices]
  assert drawn != [one.problem("test", i) for i in indices]
  assert len({problem.id for problem in drawn}) == len(drawn)
  assert all(p.source == name and p.difficulty is not None for p in drawn)


@pytest.mark.parametrize("name", PROCEDURAL)
def test_no_test_problem_is_ever_trained_on(name):
  trained = {
    task_lib.resolve(name, {"seed": seed}).problem("train", i).prompt
    for seed in range(2)
    for i in range(200)
  }
  task = task_lib.resolve(name)
  assert not trained & {task.problem("test", i).prompt for i in range(200)}


def test_an_import_path_is_a_task():
  task = task_lib.resolve("tests.data.task_test:own_task", {"size": 3})
  assert task == {"size": 3}


@pytest.mark.parametrize(
  ("name", "args", "reason"),
  [
    ("countdwn", {}, "did you mean 'countdown'"),
    ("tests.data.task_test:nothing", {}, "cannot load"),
    ("no.such.module:x", {}, "cannot load"),
    ("countdown", {"largst": 3}, "largst"),
    ("countdown", {"numbers": 9}, "numbers=9"),
    ("countdown", {"operators": "?"}, "operators"),
    ("countdown", {"largest": 99}, "largest=99"),
    ("arithmetic", {"digits": 0}, "digits"),
    ("sorting", {"length": (5, 2)}, "length"),
    ("gym", {"name": "rubiks_cube"}, "rubiks_cube"),
  ],
)
def test_mistakes_are_named(name, args, reason):
  with pytest.raises(ValueError, match=reason):
    task_lib.resolve(name, args)
