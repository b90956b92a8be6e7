import numpy as np
import pytest

from benchmarks import rl_step
from benchmarks.rl_step import Load, Step
from jaxrl_entropy.sampling.request import Completion, Request
from jaxrl_entropy.sampling.sampler import Event

LOAD = Load(groups=2, samples=3, longest=16)


def serve_fast(pipe, load):
  while True:
    pipe.recv()
    pipe.send(Step(1.0, 1.0, 5, load.rows, 7))


def serve_slow(pipe, load):
  while True:
    pipe.recv()
    pipe.send(Step(4.0, 2.0, 5, load.rows, 7))


def serve_less(pipe, load):
  while True:
    pipe.recv()
    pipe.send(Step(4.0, 2.0, 5, load.rows - 1, 7))


def serve_and_fail(pipe, load):
  del load
  pipe.recv()
  raise SystemExit(1)


def compare(monkeypatch, ours, trl):
  monkeypatch.setattr(rl_step, "serve_ours", ours)
  monkeypatch.setattr(rl_step, "serve_trl", trl)
  return rl_step.compare(LOAD, rounds=2)


def test_steps_are_compared_in_whole_and_by_part(monkeypatch):
  results = compare(monkeypatch, serve_fast, serve_slow)
  ratios = {result.metric: result.ratio for result in results}
  assert ratios == {"s a step": 3, "s a rollout": 4, "s an update": 2}


def test_sides_that_did_not_do_the_same_work_are_refused(monkeypatch):
  with pytest.raises(ValueError, match="unequal work"):
    compare(monkeypatch, serve_fast, serve_less)


def test_a_side_that_ends_is_an_error(monkeypatch):
  with pytest.raises(RuntimeError, match="serve_and_fail ended"):
    compare(monkeypatch, serve_and_fail, serve_slow)


def test_lengths_reach_the_longest_and_fit():
  lengths = LOAD.lengths()
  assert lengths.shape == (2, 3)
  assert lengths.max() == 16
  assert lengths.min() >= 1


def test_our_sampler_is_asked_for_these_lengths_and_nothing_is_cut_short():
  class Fake:
    def stream(self, params, requests, version):
      none = np.zeros(0)
      for index, request in enumerate(requests):
        assert not request.stop_ids
        group = tuple(
          Completion(np.zeros(limit), *[none] * 5, "length")
          for limit in request.limits
        )
        for sample, completion in enumerate(group):
          last = sample == len(group) - 1
          yield Event(index, sample, none, completion, group if last else None)

  asked = [Request((1,), n=3, stop_ids=(2,)) for _ in range(2)]
  events = list(rl_step.Forced(Fake(), LOAD.lengths()).stream(None, asked))
  assert {e.completion.finish for e in events} == {"stop"}
  answers = [event.group for event in events if event.group]
  lengths = [[len(c.tokens) for c in group] for group in answers]
  assert lengths == LOAD.lengths().tolist()
  assert {c.finish for group in answers for c in group} == {"stop"}


def test_the_peers_rows_end_at_these_lengths_and_not_before():
  torch = pytest.importorskip("torch")
  end = rl_step.forced_end(np.array([[1, 3], [2, 3]]), eos_id=1)
  picked = [
    end(None, torch.tensor([[0.0, 9.0, 5.0]] * 4)).argmax(-1).tolist()
    for _ in range(3)
  ]
  assert picked == [[1, 2, 2, 2], [1, 2, 1, 2], [1, 1, 1, 1]]
