"""Rules against the exact change of entropy of a tabular policy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.training import loop, token_probe
from jaxrl_entropy.training.rollout import Rollout
from tests.theory import tabular
from tests.training.runs import load, records

RESPONSES, LENGTH, ACTIONS, STEP = 20, 6, 7, 1e-3


def softmax64(logits):
  p = np.exp(logits - logits.max(-1, keepdims=True))
  return p / p.sum(-1, keepdims=True)


def entropies(logits):
  p = softmax64(logits)
  return -(p * np.log(p)).sum(-1)


@pytest.fixture(scope="module")
def experiment():
  """One token sampled in each state, and the policy after its own updates.

  Returns:
    the rollout, the entropies after the step, the exact change and its
    derivative in the step, both by token.
  """
  rng = np.random.default_rng(0)
  states = RESPONSES * LENGTH
  logits = np.asarray(tabular.problem(0, states, ACTIONS)[0], np.float64)
  p = softmax64(logits)
  token = np.array([rng.choice(ACTIONS, p=row) for row in p])
  advantage = np.repeat(rng.normal(size=RESPONSES), LENGTH)
  direction = advantage[:, None] * (np.eye(ACTIONS)[token] - p)
  flow = (
    entropies(logits + 1e-6 * direction) - entropies(logits - 1e-6 * direction)
  ) / 2e-6
  own = p[np.arange(states), token]

  def grid(values):
    return values.reshape(RESPONSES, LENGTH).astype(np.float32)

  signals = {
    "logp": grid(np.log(own)),
    "entropy": grid(entropies(logits)),
    "sum_p2": grid((p**2).sum(-1)),
    "sum_p2_logp": grid((p**2 * np.log(p)).sum(-1)),
    "rank": grid((p > own[:, None]).sum(-1)),
    "advantages": grid(advantage),
  }
  lengths = 1 + np.arange(RESPONSES) % LENGTH
  rollout = Rollout(
    problems=[Problem("p", "1", "1", "test", "countdown")] * RESPONSES,
    prompts=[np.array([2], np.int32)] * RESPONSES,
    responses=[np.zeros(n, np.int32) for n in lengths],
    groups=np.arange(RESPONSES, dtype=np.int32) // 2,
    rewards=np.zeros(RESPONSES, np.float32),
    correct=np.zeros(RESPONSES, bool),
    truncated=np.zeros(RESPONSES, bool),
    mask=np.arange(LENGTH) < lengths[:, None],
    signals=signals,
  )
  after = entropies(logits + STEP * direction).reshape(RESPONSES, LENGTH)
  return rollout, after, flow.reshape(after.shape)


def compare(experiment, fraction=0.1):
  rollout, after, _ = experiment
  # Differences of float32 entropies would be coarser than this step.
  exact = rollout.signals["entropy"].astype(np.float64)
  rollout = rollout.with_signals(entropy=exact)
  return token_probe.compare_rules(rollout, after, fraction)


def test_the_exact_flow_predicts_the_change_and_other_rules_less(experiment):
  found = compare(experiment)
  correlation = {
    rule: found[f"predictors/{rule}/change_correlation"]
    for rule in token_probe.PREDICTORS
  }
  assert correlation["flow"] > 0.999
  others = [c for rule, c in correlation.items() if rule != "flow"]
  assert all(0.1 < c < 0.99 for c in others), correlation
  assert found["predictors/flow/flow_correlation"] == pytest.approx(1.0)


def test_the_flow_is_the_derivative_of_the_entropy(experiment):
  rollout, _, flow = experiment
  found = compare(experiment)
  want = flow[rollout.mask].mean()
  assert found["predictors/flow/mean"] == pytest.approx(want, rel=1e-3)
  assert found["predictors/change"] == pytest.approx(STEP * want, rel=2e-2)


def scores(rollout):
  """Every rule's score by its formula, in float64."""
  logp, entropy, a, s, r = (
    rollout.signals[name][rollout.mask].astype(np.float64)
    for name in ("logp", "entropy", "advantages", "sum_p2", "sum_p2_logp")
  )
  p, deviation = np.exp(logp), logp + entropy
  return {
    "cov": (logp - logp.mean()) * (a - a.mean()),
    "centered_cov": (a - a.mean()) * deviation,
    "discriminator": a * p * deviation,
    "omega": a * (1 - p) * deviation,
    "flow": a * (p * deviation - r - entropy * s),
    "entropy": entropy,
  }


def test_rules_are_their_formulas_and_pick_their_highest(experiment):
  rollout, after, _ = experiment
  found = compare(experiment)
  change = (after - rollout.signals["entropy"])[rollout.mask]
  count = int(0.1 * rollout.tokens)
  own = scores(rollout)
  picked = {rule: set(np.argsort(-s)[:count]) for rule, s in own.items()}
  place = np.concatenate(
    [np.arange(n) / max(n - 1, 1) for n in rollout.mask.sum(1)]
  )
  for rule, tokens in picked.items():
    index = sorted(tokens)
    for trait in ("rank", "entropy"):
      want = rollout.signals[trait][rollout.mask][index].mean()
      np.testing.assert_allclose(found[f"picks/{rule}/{trait}"], want, 1e-5)
    want = np.exp(rollout.signals["logp"][rollout.mask][index]).mean()
    np.testing.assert_allclose(found[f"picks/{rule}/probability"], want, 1e-5)
    np.testing.assert_allclose(
      found[f"picks/{rule}/position"], place[index].mean(), 1e-5
    )
    for other in picked.keys() - {rule}:
      overlap = len(tokens & picked[other]) / count
      assert found[f"picks/{rule}/overlap/{other}"] == pytest.approx(overlap)
    if rule in token_probe.PREDICTORS:
      want = np.corrcoef(-own[rule], change)[0, 1]
      got = found[f"predictors/{rule}/change_correlation"]
      np.testing.assert_allclose(got, want, atol=1e-4)


def test_the_flow_is_the_discriminator_less_its_mean_over_the_state():
  logits, _ = tabular.problem(1)
  logp = jax.nn.log_softmax(logits)
  p, entropy = jnp.exp(logp), tabular.entropy(logits)[:, None]
  own = p * (logp + entropy)
  centered = own - (p * own).sum(-1, keepdims=True)
  polarity = token_probe.losses.entropy_change_score(exact=True)(
    _batch_of(logp, entropy, p)
  )
  np.testing.assert_allclose(polarity, centered, atol=1e-6)


def _batch_of(logp, entropy, p):
  shape = logp.shape
  return token_probe.token_batch(
    logp,
    logp,
    jnp.ones(shape),
    jnp.ones(shape, bool),
    entropy=jnp.broadcast_to(entropy, shape),
    sum_p2=(p**2).sum(-1, keepdims=True),
    sum_p2_logp=(p**2 * logp).sum(-1, keepdims=True),
  )


def test_a_rule_that_gives_all_tokens_the_same_correlates_with_nothing(
  experiment,
):
  rollout, after, _ = experiment
  zero = np.zeros_like(rollout.signals["advantages"])
  found = token_probe.compare_rules(
    rollout.with_signals(advantages=zero), after, 0.1
  )
  assert np.isnan(found["predictors/cov/change_correlation"])
  assert found["picks/cov/probability"] == 0.0


def test_a_run_compares_the_rules_and_may_look_ahead(tmp_path):
  settings = {
    "steps": "1",
    "sft.steps": "0",
    "eval.every": "0",
    "probe.token_fraction": "0.1",
    "optimizer.lookahead.steps": "5",
    "rollout.uniform_share": "0.5",
  }
  loop.train(load("grpo", *settings.items()), tmp_path)
  record = records(tmp_path)[0]
  assert record["predictors/flow/flow_correlation"] == pytest.approx(1.0)
  assert record["predictors/change"] != 0
  assert 0 <= record["picks/cov/overlap/omega"] <= 1
  assert record["lookahead/on"] == 1
