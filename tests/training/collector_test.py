"""Collecting a rollout: what is verified, and when."""

from types import SimpleNamespace

import jax
import pytest

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.data.stream import PromptStream
from jaxrl_entropy.rewards.pool import RewardPool
from jaxrl_entropy.rewards.settings import make_shaping
from jaxrl_entropy.training import build
from jaxrl_entropy.training.collector import Collector
from jaxrl_entropy.training.grader import Grader, make_collection
from jaxrl_entropy.training.policy import build_policy
from jaxrl_entropy.training.stopwatch import Stopwatch
from tests.training import tiny_config


class Recorder(RewardPool):
  """A pool that notes the order of its calls."""

  def __init__(self):
    super().__init__()
    self.calls = []

  def start(self, problem, response):
    self.calls.append((problem, response))
    super().start(problem, response)

  def score(self, items):
    self.calls.append(None)
    return super().score(items)


class Watched:
  """A sampler that notes in the pool's calls when it decodes."""

  def __init__(self, sampler, calls):
    self._sampler, self._calls = sampler, calls

  def stream(self, params, requests, version):
    for event in self._sampler.stream(params, requests, version):
      self._calls.append("event")
      yield event


@pytest.fixture(scope="module")
def run():
  config = tiny_config.get_config()
  config.rollout.max_generation_rounds = 1
  config_lib.finalize(config)
  policy = build_policy(config)
  sampler = build.build_sampler(config, policy.model, policy.mesh)
  return config, policy, sampler


def collect(run, pool, **settings):
  config, policy, sampler = run
  with config.unlocked():
    config.rollout.update(settings)
  shape = make_shaping(config.reward, config.rollout.max_response_length)
  collector = Collector(
    Grader(make_collection(config, False), policy, pool, shape),
    PromptStream(build.build_task(config, policy.tokenizer), config.seed),
    Watched(sampler, pool.calls),
  )
  state = SimpleNamespace(params=policy.params, key=jax.random.key(0))
  with jax.set_mesh(policy.mesh):
    return collector.collect(state, 0, Stopwatch())


def test_responses_are_verified_while_others_are_decoded(run):
  with Recorder() as pool:
    rollout = collect(run, pool, partial_tokens=0)
  calls = pool.calls
  started = [call for call in calls if isinstance(call, tuple)]
  assert len(started) == len(rollout.responses)
  first = next(i for i, call in enumerate(calls) if isinstance(call, tuple))
  assert "event" in calls[first + 1 :]
  assert calls[-1] is None
  tokenizer = run[1].tokenizer
  scored = {
    (problem.id, tokenizer.decode(response.tolist()))
    for problem, response in zip(
      rollout.problems, rollout.responses, strict=True
    )
  }
  assert {(problem.id, text) for problem, text in started} == scored


def test_a_response_cut_short_is_not_verified_yet(run):
  with Recorder() as pool:
    rollout = collect(run, pool, partial_tokens=4)
  started = [call for call in pool.calls if isinstance(call, tuple)]
  assert len(started) >= len(rollout.responses)
  texts = {text for _, text in started}
  tokenizer = run[1].tokenizer
  for response in rollout.responses:
    assert tokenizer.decode(response.tolist()) in texts
