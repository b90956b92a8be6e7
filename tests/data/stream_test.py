"""The prompt stream: one order for any number of processes."""

import pytest

from jaxrl_entropy.data.stream import PromptStream
from jaxrl_entropy.data.task import Problem, resolve
from jaxrl_entropy.data.tasks.listed import Listed, fixed, some
from jaxrl_entropy.data.tasks.mixture import mixture


def listed(count, name="list"):
  problems = [
    Problem(f"{name}{i}", "p", "a", name, "exact") for i in range(count)
  ]
  return Listed({"train": problems, "test": problems[:2]})


def take(task, processes, per_process, position=None, seed=0):
  """The ids that all processes take, in order, and the new position."""
  streams = [PromptStream(task, seed, i, processes) for i in range(processes)]
  taken = []
  for stream in streams:
    if position:
      stream.restore(position)
    taken += [problem.id for problem in stream.take(per_process)]
  (after,) = {tuple(stream.position().items()) for stream in streams}
  return taken, dict(after)


@pytest.mark.parametrize(("before", "after"), [(1, 1), (1, 3), (2, 3), (4, 1)])
def test_another_number_of_processes_goes_on_exactly(before, after):
  task = listed(100)
  whole, _ = take(task, 1, 24)
  first, position = take(task, before, 12 // before)
  second, _ = take(task, after, 12 // after, position)
  assert first + second == whole


@pytest.mark.parametrize(("before", "after"), [(1, 2), (3, 1)])
def test_a_mixture_goes_on_exactly_too(before, after):
  mixed = mixture(
    [
      {"name": f"{__name__}:listed", "args": {"count": 7, "name": "a"}},
      {"name": f"{__name__}:listed", "args": {"count": 5, "name": "b"}},
    ]
  )
  whole, _ = take(mixed, 1, 24)
  first, position = take(mixed, before, 12 // before)
  second, _ = take(mixed, after, 12 // after, position)
  assert first + second == whole


@pytest.mark.parametrize(
  ("part", "reason"),
  [
    ({"name": "sorting", "weigth": 2}, "weigth"),
    ({"weight": 2}, "has name"),
    ({"name": "sorting", "weight": 0}, "not a number above 0"),
    ({"name": "sorting", "weight": float("nan")}, "not a number above 0"),
    ({"name": "sorting", "weight": "much"}, "'much', not a number"),
  ],
)
def test_a_part_that_is_not_in_order_is_named(part, reason):
  with pytest.raises(ValueError, match=reason):
    mixture([part])


def test_an_epoch_has_every_problem_once_and_the_next_another_order():
  task = listed(20)
  stream = PromptStream(task, seed=1)
  first = [problem.id for problem in stream.take(20)]
  second = [problem.id for problem in stream.take(20)]
  assert (
    sorted(first) == sorted(second) == sorted(f"list{i}" for i in range(20))
  )
  assert first != second
  assert first != take(task, 1, 20, seed=2)[0]


def test_reading_ahead_changes_nothing():
  task = listed(50)
  stream = PromptStream(task)
  whole, _ = take(task, 1, 30)
  position = stream.position()
  taken = [
    problem.id for count in (5, 5, 7, 13) for problem in stream.take(count)
  ]
  assert taken == whole
  stream.restore(position)
  assert [problem.id for problem in stream.take(30)] == whole


def test_an_empty_task_is_refused():
  with pytest.raises(ValueError, match="no training problems"):
    PromptStream(Listed({"train": [], "test": []}))


def test_a_mixture_keeps_its_weights_and_every_epoch():
  mixed = mixture(
    [
      {
        "name": "tests.data.stream_test:listed",
        "args": {"count": 10},
        "weight": 3,
      },
      {"name": "sorting", "weight": 1},
    ]
  )
  taken = PromptStream(mixed).take(400)
  own = [problem.id for problem in taken if problem.source == "list"]
  assert len(own) == pytest.approx(300, abs=3)
  assert len(set(own[:10])) == 10
  assert mixed.size("test") == 2 + 256
  assert mixed.problem("test", 2).source == "sorting"


def test_tasks_with_symbols_cannot_be_mixed():
  with pytest.raises(ValueError, match="text"):
    mixture([{"name": "countdown"}, {"name": "chain"}])
  assert mixture([{"name": "countdown"}]).tokenizer is not None


def test_procedural_problems_come_fast_enough_to_be_endless():
  stream = PromptStream(resolve("countdown"))
  assert len({problem.prompt for problem in stream.take(200)}) > 190


def test_the_fixed_problems_of_a_mixture_are_those_of_its_lists():
  part = {"name": f"{__name__}:listed", "args": {"count": 7}}
  mixed = mixture([part, {"name": "sorting"}])
  assert list(map(len, fixed(mixed, "train"))) == [7]
  assert list(map(len, fixed(mixed, "test"))) == [2]
  assert fixed(resolve("sorting"), "train") == []


def test_some_problems_show_the_verifiers_of_all_parts_of_a_task():
  kinds = ["math"] * 50 + ["exact"] * 50
  problems = [Problem(f"{i}", "p", "a", "s", v) for i, v in enumerate(kinds)]
  task = Listed({"train": problems, "test": []})
  assert {p.verifier for p in some(task, "train", 4)} == {"math", "exact"}
  assert not list(some(task, "test", 4))
  part = {"name": f"{__name__}:listed", "args": {"count": 7}}
  mixed = some(mixture([part, {"name": "sorting"}]), "train", 100)
  assert {p.verifier for p in mixed} == {"exact", resolve("sorting").verifier}
