"""Groups sampled beside updates: in order, of known age, none lost."""

from concurrent.futures import ThreadPoolExecutor
import contextlib
import copy
import dataclasses
import threading
import time
from types import SimpleNamespace
from unittest import mock

import jax
import numpy as np
import pytest

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.data.stream import PromptStream
from jaxrl_entropy.models import transformer
from jaxrl_entropy.rewards.pool import RewardPool, Verdict
from jaxrl_entropy.rewards.settings import make_shaping
from jaxrl_entropy.sampling import tuning
from jaxrl_entropy.sampling.stream import Stream
from jaxrl_entropy.training import build, pending
from jaxrl_entropy.training.backlog import make_quota
from jaxrl_entropy.training.grader import Grader, make_collection
from jaxrl_entropy.training.policy import build_policy
from jaxrl_entropy.training.producer import Producer
from tests.training import tiny_config

PROMPTS, STEPS = 3, 6
# Tokens between two looks for new weights: responses have up to 10.
SHORT = dataclasses.replace(tuning.TUNINGS["cpu"], steps=3)


class Refusing(RewardPool):
  def score(self, items):
    raise RuntimeError("no verdict today")


class Late(RewardPool):
  """Says long after the sampler has no work that the first group is useless."""

  def score(self, items):
    time.sleep(0.3)
    wrong, right = (
      Verdict(x, correct=x > 0, components={"answer": x}) for x in (0.0, 1.0)
    )
    first = right if self.asked else wrong
    self.asked = True
    return [first] + [wrong] * (len(items) - 1)

  asked = False


@pytest.fixture(scope="module")
def run():
  config = tiny_config.get_config()
  config.steps = STEPS
  config.rollout.update(
    group_filter="all", prompts_per_step=PROMPTS, max_staleness=2
  )
  config.rollout.train_groups = 0
  config_lib.finalize(config)
  policy = build_policy(config)
  with mock.patch.dict(tuning.TUNINGS, cpu=SHORT):
    sampler = build.build_sampler(config, policy.model, policy.mesh)
  task = build.build_task(config, policy.tokenizer)
  problems = PromptStream(task, config.seed).take(PROMPTS * STEPS)
  return config, policy, sampler, task, [problem.id for problem in problems]


@contextlib.contextmanager
def producing(run, pool, step=0, snapshot=None, baseline=False):
  """A producer that has begun at `step`, from a snapshot or anew."""
  config, policy, sampler, task, _ = run
  shape = make_shaping(config.reward, config.rollout.max_response_length)
  stream = PromptStream(task, config.seed)
  grader = Grader(make_collection(config, baseline), policy, pool, shape)
  producer = Producer(grader, stream, sampler, make_quota(config))
  if snapshot is not None:
    stream.restore(snapshot.position)
    producer.resume_pending(pending.decode(pending.encode(snapshot.groups)))
  state = SimpleNamespace(params=policy.params, key=jax.random.key(0))
  with jax.set_mesh(policy.mesh), contextlib.closing(producer):
    producer.start(state, step)
    yield producer


def problems_of(rollout):
  firsts = np.unique(rollout.groups, return_index=True)[1]
  return [rollout.problems[i].id for i in firsts]


def test_steps_get_the_problems_in_order_and_no_token_is_too_old(run):
  config, policy, *_, expected = run
  found, ages = [], []
  with RewardPool() as pool, producing(run, pool) as producer:
    for step in range(STEPS):
      rollout = producer.take().rollout
      found += problems_of(rollout)
      ages += (step - rollout.signals["version"][rollout.mask]).tolist()
      weights = jax.tree.map(lambda x, k=step: x * (1 - k / 9), policy.params)
      producer.publish(weights, step + 1)
  assert found == expected
  assert min(ages) >= 0
  assert 0 < max(ages) <= config.rollout.max_staleness


@pytest.fixture
def published(monkeypatch):
  """An event that the sampler waits for once the first step has its groups.

  Tokens of later groups are sampled before it and after it.
  """
  advance, published = Stream.advance, threading.Event()
  complete = set()

  def advance_in_turn(stream):
    if complete.issuperset(range(PROMPTS)):
      assert published.wait(timeout=60)
    events = advance(stream)
    complete.update(e.request for e in events if e.group is not None)
    return events

  monkeypatch.setattr(Stream, "advance", advance_in_turn)
  return published


def logps(policy, params, rollout):
  """Log-probs of a rollout's tokens by one forward pass, [N, T]."""
  texts = [
    np.concatenate(pair)
    for pair in zip(rollout.prompts, rollout.responses, strict=True)
  ]
  rows = np.zeros((len(texts), max(map(len, texts))), np.int32)
  for row, text in zip(rows, texts, strict=True):
    row[: len(text)] = text
  scores = transformer.logits(params, policy.model, rows)
  table = np.asarray(jax.nn.log_softmax(scores))
  logp = np.zeros(rollout.mask.shape, np.float32)
  for i, response in enumerate(rollout.responses):
    where = len(rollout.prompts[i]) - 1 + np.arange(len(response))
    logp[i, : len(response)] = table[i, where, response]
  return logp


def test_a_response_that_crosses_an_update_keeps_what_sampled_each_token(
  run, published
):
  _, policy, *_ = run
  changed = jax.tree.map(lambda x: x * 1.5, policy.params)
  with RewardPool() as pool, producing(run, pool) as producer:
    first = producer.take().rollout
    producer.publish(changed, 1)
    published.set()
    second = producer.take().rollout
  assert (first.signals["version"][first.mask] == 0).all()
  version, mask = second.signals["version"], second.mask
  crossing = 0
  for row, valid in zip(version, mask, strict=True):
    assert (np.diff(row[valid]) >= 0).all()
    crossing += {*row[valid]} == {0, 1}
  assert crossing > 0
  for number, params in enumerate((policy.params, changed)):
    gap = np.abs(second.signals["sampler_logp"] - logps(policy, params, second))
    np.testing.assert_array_less(gap[mask & (version == number)], 1e-4)
    assert gap[mask & (version != number)].max() > 1e-2


def test_nothing_is_lost_or_used_twice_by_a_run_that_stops(run):
  """Also not the tokens of responses that were not complete."""
  config, policy, *_, expected = run
  with RewardPool() as pool:
    with producing(run, pool) as producer:
      found = problems_of(producer.take().rollout)
      snapshot = producer.snapshot()
    begun = {
      (group.problem.id, i): completion.tokens
      for group in snapshot.groups
      for i, completion in enumerate(group.completions)
    }
    with producing(run, pool, step=1, snapshot=snapshot) as producer:
      for step in range(1, STEPS):
        rollout = producer.take().rollout
        found += problems_of(rollout)
        for row, tokens in enumerate(rollout.responses):
          name = rollout.problems[row].id, row % config.rollout.group_size
          before = begun.pop(name, np.zeros(0))
          np.testing.assert_array_equal(tokens[: len(before)], before)
        producer.publish(policy.params, step + 1)
      assert producer.snapshot().groups == []
  assert found == expected
  assert not begun


def test_every_prompt_gets_its_greedy_response_for_a_baseline(run):
  with RewardPool() as pool, producing(run, pool, baseline=True) as producer:
    rollout = producer.take().rollout
  baseline = rollout.outcomes["baseline_rewards"]
  assert baseline.shape == rollout.rewards.shape
  for group in np.unique(rollout.groups):
    assert np.ptp(baseline[rollout.groups == group]) == 0


def test_a_late_verdict_that_a_group_is_useless_makes_room_for_another(run):
  config, *others = run
  config = copy.deepcopy(config)
  config.rollout.update(group_filter="mixed", train_groups=1)
  config.steps = 1
  with (
    Late() as pool,
    producing((config, *others), pool) as producer,
    ThreadPoolExecutor(1) as waiting,
  ):
    taken = waiting.submit(producer.take)
    try:
      groups = problems_of(taken.result(timeout=60).rollout)
    except TimeoutError:
      producer._fail(AssertionError("the sampler was not woken"))
      raise
  assert len(groups) == 2


def test_what_ends_the_thread_is_raised_by_the_caller(run):
  with (
    Refusing() as pool,
    producing(run, pool) as producer,
    pytest.raises(RuntimeError, match="no verdict today"),
  ):
    producer.take()


def test_a_snapshot_is_told_after_the_end(run):
  with RewardPool() as pool:
    with producing(run, pool) as producer:
      producer.take()
    groups = producer.snapshot().groups
  assert len(groups) <= 3 * PROMPTS
  numbers = [run[-1].index(group.problem.id) for group in groups]
  assert numbers == list(range(PROMPTS, PROMPTS + len(groups)))
