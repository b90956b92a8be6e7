"""Groups sampled beside updates: in order, of known age, none lost."""

import contextlib
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.data.stream import PromptStream
from jaxrl_entropy.rewards.pool import RewardPool
from jaxrl_entropy.rewards.settings import make_shaping
from jaxrl_entropy.training import build, pending
from jaxrl_entropy.training.backlog import make_quota
from jaxrl_entropy.training.grader import Grader, make_collection
from jaxrl_entropy.training.policy import build_policy
from jaxrl_entropy.training.producer import Producer
from tests.training import tiny_config

PROMPTS, STEPS = 3, 6


class Refusing(RewardPool):
  def score(self, items):
    raise RuntimeError("no verdict today")


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
