"""Rewards in parts: they add up, and an estimator may tell them apart."""

import numpy as np

from jaxrl_entropy import advantages
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tokenizers import SymbolTokenizer
from jaxrl_entropy.rewards.pool import RewardPool, Verdict
from jaxrl_entropy.rewards.shaping import shaping
from jaxrl_entropy.sampling.request import Completion, Request
from jaxrl_entropy.training import rollout as rollout_lib
from tests.training import rollouts

TEXTS = ("<answer> 7 </answer>", "<answer> 8 </answer>", "7", "8")


def judged(overlong_buffer=0, prompt=(1,)):
  """Four responses to a problem: one right, two of the form asked for."""
  tokenizer = SymbolTokenizer(("<answer>", "</answer>", "7", "8"))
  completions = []
  for text in TEXTS:
    tokens = np.asarray(tokenizer.encode(text), np.int32)
    nothing = np.zeros(len(tokens), np.float32)
    completions.append(Completion(tokens, *[nothing] * 5, "stop"))
  problem = Problem("p", "3 + 4", "7", "test", "tagged")
  shape = shaping("tagged", 0.25, overlong_buffer, 0.5, max_length=4)
  with RewardPool() as pool:
    return rollout_lib.from_completions(
      [problem],
      [Request(prompt, n=len(TEXTS))],
      [completions],
      pool.score,
      shape,
      tokenizer,
      length=4,
    )


def test_parts_of_the_reward_add_up():
  rollout = judged(overlong_buffer=2)
  parts = rollout.components
  np.testing.assert_array_equal(parts["answer"], [1, 0, 0, 0])
  np.testing.assert_array_equal(parts["format"], [0.25, 0.25, 0, 0])
  np.testing.assert_allclose(parts["overlong"], [-0.25, -0.25, 0, 0])
  np.testing.assert_allclose(rollout.rewards, sum(parts.values()))
  part = rollout.select(np.array([2, 0]))
  np.testing.assert_array_equal(part.components["format"], [0, 0.25])
  both = rollout_lib.concatenate([rollout, part])
  np.testing.assert_array_equal(both.components["answer"], [1, 0, 0, 0, 0, 1])


def test_gdpo_normalises_the_parts_apart():
  """A bonus that weighs little in the sum weighs as much as the answer."""

  def row_values(name, **args):
    estimator = advantages.resolve(name, args)
    done = rollout_lib.estimate_advantages(judged(), estimator)
    return done.row_means("advantages")

  for name, args, expected in (
    # The sample deviations are 1/2 and sqrt(1/3) of the two values' distance.
    ("gdpo", {}, np.sqrt(3) / 2),
    ("gdpo", {"weights": {"format": 0.0}}, 0.0),
    ("grpo", {}, 0.25),
  ):
    right, form, neither, _ = row_values(name, **args)
    share = (form - neither) / (right - form)
    np.testing.assert_allclose(share, expected, rtol=1e-3, atol=1e-5)


def test_a_thinking_part_that_the_prompt_opens_belongs_to_the_response():
  tokenizer = SymbolTokenizer(("<think>", "</think>", "7"))
  seen = []

  def score(items):
    seen.extend(text for _, text in items)
    return [Verdict(1.0, True, components={"answer": 1.0})]

  tokens = np.asarray(tokenizer.encode("</think> 7"), np.int32)
  nothing = np.zeros(len(tokens), np.float32)
  rollout_lib.from_completions(
    [Problem("p", "3 + 4", "7", "test", "exact")],
    [Request(tuple(tokenizer.encode("7 <think>")))],
    [[Completion(tokens, *[nothing] * 5, "stop")]],
    score,
    shaping(max_length=4),
    tokenizer,
    length=4,
  )
  assert seen == ["<think></think> 7"]


def test_facts_are_those_of_the_whole_rollout():
  rollout = rollouts.make_rollout()
  facts = ("correct", "group_accuracy", "old_entropy")
  signals = rollout_lib.with_facts(rollout, facts).signals
  np.testing.assert_array_equal(signals["correct"][:, 0], [1, 0, 1, 1])
  np.testing.assert_array_equal(
    signals["group_accuracy"], np.repeat([[0.5], [0.5], [1], [1]], 5, 1)
  )
  np.testing.assert_array_equal(signals["old_entropy"], signals["entropy"])
  assert not set(facts) & set(rollout_lib.with_facts(rollout, ()).signals)


def test_a_fact_outlives_the_responses_that_it_counts():
  """Rejected responses count in the accuracy of their group."""
  rollout = rollout_lib.with_facts(rollouts.make_rollout(), ["group_accuracy"])
  kept = rollout.select(np.array([0, 2]))
  assert kept.signals["group_accuracy"][:, 0].tolist() == [0.5, 1.0]


def test_a_mini_batch_numbers_its_groups():
  rollout = rollouts.make_rollout()
  parts = list(
    rollout_lib.split_minibatches(rollout, 1, np.random.default_rng(0))
  )
  assert parts[0].signals["group"][:, 0].tolist() == [0, 0, 1, 1]
  for part in rollout_lib.split_minibatches(
    rollout, 2, np.random.default_rng(0)
  ):
    assert (part.signals["group"] == 0).all()


def test_an_estimator_sees_verdicts_entropy_and_progress():
  rollout = rollouts.make_rollout()
  low = rollout.with_signals(entropy=np.zeros((4, 5), np.float32))
  for progress, edge in ((0.0, 0.6), (1.0, 0.4)):
    estimator = advantages.resolve("entrocraft", {"lower": (0.6, 0.4)})
    signals = rollout_lib.estimate_advantages(
      low.with_signals(entropy=np.full((4, 5), edge - 0.05, np.float32)),
      estimator,
      progress=progress,
    ).signals
    assert signals["advantages"][:, 0].tolist() == [0, -1, 0, 0]
