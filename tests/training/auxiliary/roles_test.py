"""The critic and the implicit reward model: what they learn, and in a run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.advantages import implicit_reward as ops
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.training import loop, packed_batch
from jaxrl_entropy.training.auxiliary import critic, implicit_reward
from jaxrl_entropy.training.forward import Forward
from jaxrl_entropy.types import token_batch
from tests import devices
from tests.training import rollouts, tiny_config

MODEL = preset("nano", vocab_size=16)


def config():
  config = tiny_config.get_config()
  config.optimizer.learning_rate = 3e-3
  config.critic.learning_rate = 1e-2
  config.implicit_reward.learning_rate = 1e-2
  return config


def responses(seed=0, count=8, length=4):
  """Right responses hold a 3, wrong ones do not."""
  rng = np.random.default_rng(seed)
  tokens = rng.integers(4, 16, (count, length))
  right = np.arange(count) % 2 == 0
  tokens[right, rng.integers(0, length, count)[right]] = 3
  return tokens, right


def make_rows(signals):
  tokens, _ = responses()
  count, length = tokens.shape
  laid = packed_batch.fill_rows(
    [np.array([1, 2])] * count,
    list(tokens),
    packed_batch.one_per_row(count),
    rows=count,
    length=length + 2,
  )
  laid = packed_batch.with_signals(laid, signals)
  return jax.tree.map(lambda x: jnp.asarray(x)[None], laid)


def trained(role, signals, updates=60, **sizes):
  """The role's metrics at each of some updates on one mini-batch."""
  count = int(np.prod(list(sizes.values()), dtype=int))
  mesh = sharding.make_mesh(**sizes, devices=jax.devices()[:count])
  params = transformer.init(MODEL, jax.random.key(0))
  batch, history = make_rows(signals), []
  with jax.set_mesh(mesh):
    state = role.init(params, 0, mesh)
    update = role.make_update(state, mesh, num_responses=8, max_length=4)
    for _ in range(updates):
      state, metrics = update(state, batch)
      history.append({k: float(m.compute()) for k, m in metrics.items()})
  return history


def zeros(*names):
  return {name: np.zeros((8, 4), np.float32) for name in names}


def critic_history(updates, **sizes):
  settings = config()
  settings.critic.clip = 10.0
  returns = np.where(responses()[1][:, None], 1.0, -1.0) * np.ones((8, 4))
  signals = zeros("old_values", "logp", "old_logp", "advantages")
  signals["returns"] = returns.astype(np.float32)
  role = critic.critic(settings, Forward(MODEL))
  return trained(role, signals, updates, **sizes)


def test_critic_starts_at_zero_and_learns_its_returns():
  history = critic_history(60)
  np.testing.assert_allclose(history[0]["critic/value/error"], 1.0, rtol=1e-5)
  # Before the 3 has come nothing tells the responses apart.
  assert history[-1]["critic/value/error"] < 0.7


def test_a_value_does_not_see_its_own_token():
  forward = critic.ValueForward(Forward(MODEL))
  params = critic.start(transformer.init(MODEL, jax.random.key(0)))
  key = jax.random.key(1)
  params["value_head"]["kernel"] = jax.random.normal(key, (MODEL.hidden_size,))
  batch = jax.tree.map(lambda x: x[0], make_rows({}))
  before = forward(params, batch).values
  changed = batch.replace(tokens=batch.tokens.at[:, 4].set(9))
  after = forward(params, changed).values
  # Nothing predicts column 0.
  np.testing.assert_allclose(after[:, 1:5], before[:, 1:5], atol=1e-6)
  assert np.abs(after[:, 5] - before[:, 5]).max() > 1e-3


def reward_history(updates, **sizes):
  right = responses()[1].astype(np.float32)[:, None] * np.ones((8, 4))
  params = transformer.init(MODEL, jax.random.key(0))
  batch = jax.tree.map(lambda x: x[0], make_rows({}))
  logp = np.asarray(Forward(MODEL)(params, batch).logp)
  signals = zeros("old_logp", "old_values") | {
    "advantages": np.ones((8, 4), np.float32),
    "ref_logp": packed_batch.gather(
      logp, jax.tree.map(np.asarray, batch), 8, 4
    ),
    "returns": right.astype(np.float32),
  }
  role = implicit_reward.implicit_reward(config(), Forward(MODEL))
  return trained(role, signals, updates, **sizes)


def test_implicit_reward_learns_to_tell_right_from_wrong():
  history = reward_history(60)
  first, last = history[0], history[-1]
  # It starts as its reference: every score is 0.
  np.testing.assert_allclose(
    first["implicit_reward/loss"], np.log(2), rtol=1e-4
  )
  assert last["implicit_reward/loss"] < 0.9 * first["implicit_reward/loss"]
  assert last["implicit_reward/accuracy"] == 1.0


def both_on_a_mesh():
  sizes = {"data": 2, "fsdp": 2, "tensor": 2}
  return critic_history(2, **sizes), reward_history(2, **sizes)


def test_they_learn_the_same_on_a_mesh():
  meshed = devices.run(both_on_a_mesh)
  alone = critic_history(2), reward_history(2)
  for ours, theirs in zip(meshed, alone, strict=True):
    for a, b in zip(ours, theirs, strict=True):
      # Accuracy jumps: a score that starts at 0 is a rounding error there.
      for name in b.keys() - {"implicit_reward/accuracy"}:
        np.testing.assert_allclose(
          a[name], b[name], rtol=1e-4, atol=1e-6, err_msg=name
        )


def test_cross_entropy_of_a_batch_is_that_of_its_responses():
  rng = np.random.default_rng(2)
  mask = np.arange(5) < np.array([5, 2, 3, 0])[:, None]
  q = rng.normal(size=(4, 5)).astype(np.float32)
  label = np.array([1.0, 0.0, 0.5, 1.0], np.float32)
  weight = np.array([1.0, 2.0, 0.5, 1.0], np.float32)
  nothing = jnp.zeros((4, 5))
  batch = token_batch(
    jnp.where(mask, q, jnp.nan),
    nothing,
    jnp.broadcast_to(weight[:, None], (4, 5)),
    jnp.asarray(mask),
    ref_logp=nothing,
    returns=jnp.broadcast_to(label[:, None], (4, 5)),
  )
  objective = implicit_reward.reward_model_loss("cross_entropy", 0.7)
  loss, metrics = objective(batch, jax.random.key(0))
  score = 0.7 * np.where(mask, q, 0).sum(1)
  expected = ops.cross_entropy(jnp.asarray(score), jnp.asarray(label))[:3]
  expected = (expected * weight[:3]).mean()
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  assert metrics["accuracy"].count == 3
  order = np.array([2, 3, 0, 1])
  moved = jax.tree.map(lambda x: x[order], batch)
  again, _ = objective(moved, jax.random.key(0))
  np.testing.assert_allclose(again, loss, rtol=1e-6)


def test_lesson_finds_the_score_to_beat_in_the_group():
  """Only the first group has a right and a wrong response."""
  part = rollouts.make_rollout()
  q = np.array([0.4, -0.2, 1.0, 2.0], np.float32)[:, None]
  each = (part.mask * q / part.mask.sum(1)[:, None]).astype(np.float32)
  part = part.with_signals(implicit_logp=each, ref_logp=0 * each)
  taught = implicit_reward.targets(0.5)(part)
  rival = taught.row_means("old_values")
  np.testing.assert_allclose(rival, [-0.1, 0.2, 0.0, 0.0], atol=1e-6)
  np.testing.assert_allclose(taught.row_means("returns"), [1, 0, 1, 1])


def test_best_of_a_group_weighs_more():
  """Two right responses, and one of two."""
  part = rollouts.make_rollout()
  scores = np.array([0.4, 0.6, 1.0, 2.0], np.float32)[:, None]
  each = (part.mask * scores / part.mask.sum(1)[:, None]).astype(np.float32)
  part = part.with_signals(implicit_logp=each, ref_logp=0 * each)
  for kind, expected in {
    "": [1, 1, 1, 1],
    "accuracy": [2, 1, 2, 2],
    "score": [1, 2, 1, 2],
  }.items():
    taught = implicit_reward.targets(0.5, kind)(part)
    np.testing.assert_allclose(taught.row_means("advantages"), expected)
  # Group 0 is ranked the wrong way round, group 1 has no pair to rank.
  assert implicit_reward.pair_accuracy(part) == 0.25


def test_unknown_reward_model_loss():
  with pytest.raises(ValueError, match=r"implicit_reward\.loss is 'dpo'"):
    implicit_reward.reward_model_loss("dpo", 0.05)
  with pytest.raises(ValueError, match=r"best_of_n is 'bon'"):
    implicit_reward.targets(0.05, "bon")


def run(tmp_path, **settings):
  config = tiny_config.get_config()
  config.steps = 2
  config.sft.steps = 0
  config.eval.every = 0
  config.probe.every = 0
  for path, value in settings.items():
    section, field = path.split("__")
    config[section][field] = value
  assert loop.train(config, tmp_path) == 0
  lines = (tmp_path / loop.METRICS).read_text().splitlines()
  return [json.loads(line) for line in lines][:-1]


def test_a_run_with_gae(tmp_path):
  records = run(tmp_path, advantage__name="gae")
  assert all(r["critic/value/error"] > 0 for r in records)
  assert all(r["critic/grad_norm"] > 0 for r in records)
  assert all(r["grad_norm"] > 0 for r in records)


def test_a_run_with_prime(tmp_path):
  records = run(
    tmp_path,
    advantage__name="prime",
    implicit_reward__loss="pairwise",
    implicit_reward__best_of_n="score",
  )
  for name in ("accuracy", "pair_accuracy"):
    assert all(0 <= r[f"implicit_reward/{name}"] <= 1 for r in records)
  # The loss starts at log 2, where the model is its reference.
  assert records[-1]["implicit_reward/loss"] != pytest.approx(
    np.log(2), abs=1e-6
  )


def test_a_run_that_rejects_by_entropy(tmp_path):
  """An entropy above the band: only better responses are learned from."""
  accept = {
    "name": "entropy_band",
    "args": {"lower": (0.0, 0.0), "upper": (0.0, 0.0)},
  }
  records = run(tmp_path, rollout__accept=accept, loss__name="unclipped")
  # On policy the loss is minus the mean advantage.
  assert records[0]["loss"] < -0.1
