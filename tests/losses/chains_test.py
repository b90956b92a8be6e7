"""What holds for every named method: padding, gradients, missing inputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import losses, objectives
from tests.losses import batches

KEY = jax.random.key(0)
# What carries a method's gradient; elsewhere it is `logp`.
LEARNED = {"distillation": "teacher_kl"}
# Arguments that make a method act on a batch of a few tokens.
ARGS = {
  "clip_cov": {"fraction": 0.2, "cov_low": 0.1},
  "kl_cov": {"fraction": 0.2},
  "dro": {"beta": 0.1},
  "entropy_bonus": {"coefficient": 0.1},
  "reference_kl": {"coefficient": 0.1},
  "aem": {"rate": 1.0},
  "erc": {"entropy_low": 0.2, "entropy_high": 0.2},
}


def build(name):
  return objectives.resolve(name, ARGS.get(name))


@functools.cache
def compiled(name):
  objective, field = build(name), LEARNED.get(name, "logp")

  def evaluate(batch):
    def loss(values):
      return objective(batch.replace(**{field: values}), KEY)

    (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(
      getattr(batch, field)
    )
    return value, gradient, {k: v.compute() for k, v in metrics.items()}

  return jax.jit(evaluate)


@pytest.mark.parametrize("name", sorted(objectives.OBJECTIVES))
def test_padding_reaches_neither_loss_nor_gradient(name):
  batch = batches.make()
  clean = compiled(name)(batches.with_padding(batch, 0.0))
  for junk in (np.nan, np.inf, -np.inf, 1e30):
    ours = compiled(name)(batches.with_padding(batch, junk))
    jax.tree.map(np.testing.assert_array_equal, ours, clean)
  assert (np.asarray(clean[1])[~batch.mask] == 0).all()


@pytest.mark.parametrize("name", sorted(objectives.OBJECTIVES))
def test_a_batch_without_tokens_has_no_loss(name):
  batch = batches.make(masked=2.0)
  assert not batch.mask.any()
  value, gradient, metrics = compiled(name)(batch)
  assert value == 0
  assert (gradient == 0).all()
  assert all(jnp.isfinite(metric) for metric in metrics.values())


@pytest.mark.parametrize("name", sorted(objectives.OBJECTIVES))
def test_it_trains(name):
  value, gradient, _ = compiled(name)(batches.make())
  assert np.isfinite(value)
  assert np.abs(gradient).sum() > 1e-3


def test_bfloat16_inputs_are_widened_first():
  batch = batches.make()
  narrow = {
    k: jnp.asarray(v, jnp.bfloat16)
    for k, v in batches.fields(batch).items()
    if v.dtype == np.float32
  }
  wide = {k: v.astype(jnp.float32) for k, v in narrow.items()}
  ours, gradient, _ = compiled("kl_cov")(batch.replace(**narrow))
  theirs = compiled("kl_cov")(batch.replace(**wide))
  assert ours == theirs[0]
  assert ours.dtype == jnp.float32
  assert gradient.dtype == jnp.bfloat16
  np.testing.assert_array_equal(gradient, theirs[1].astype(jnp.bfloat16))


def test_needs_lists_what_the_transforms_read():
  objective = losses.objective(
    losses.ppo_clip(),
    losses.add_reference_kl(0.1),
    losses.shadow(losses.top_entropy(0.2), "high"),
    aggregate=losses.token_mean(),
  )
  assert objective.needs == {"ref_logp", "entropy"}
  assert objectives.resolve("clip_cov").needs == frozenset()


def test_needs_sees_through_wrappers_and_user_code():
  def users(loss, batch, key):
    del key
    return loss.replace(loss=loss.loss * batch.sum_p2)

  objective = losses.objective(
    losses.chain(users),
    losses.masked(
      losses.add_entropy(0.1),
      losses.complement(losses.drifted_responses(0.1, "sampler")),
    ),
    aggregate=losses.token_mean(),
  )
  assert objective.needs == {"sum_p2", "entropy", "sampler_logp"}


def test_a_missing_field_names_transform_field_and_setting():
  batch = batches.make().replace(ref_logp=None, entropy=None)
  nested = losses.masked(
    losses.add_reference_kl(0.1), losses.top_covariance(0.5)
  )
  objective = losses.objective(nested, aggregate=losses.token_mean())
  with pytest.raises(
    ValueError, match=r"add_reference_kl\(\) reads `ref_logp`.*comes from"
  ):
    objective(batch, KEY)
  rule = losses.objective(
    losses.shadow(losses.top_entropy(), "high"),
    aggregate=losses.token_mean(),
  )
  with pytest.raises(ValueError, match=r"top_entropy\(\) reads `entropy`"):
    rule(batch, KEY)


def test_the_same_key_gives_the_same_draw_and_another_another():
  objective = losses.objective(
    losses.ppo_clip(1.0, 1.0),
    losses.masked(
      losses.set_to_zero(), losses.random_covariance(0.1, -9.0, 9.0)
    ),
    aggregate=losses.token_mean(),
  )
  batch = batches.make()
  values = [objective(batch, jax.random.key(k))[0] for k in (0, 0, 1, 2)]
  assert values[0] == values[1]
  assert len({float(v) for v in values}) == 3


def test_common_metrics():
  batch = batches.make()
  _, metrics = objectives.resolve("grpo")(batch, KEY)
  d = (batch.logp - batch.old_logp)[batch.mask]
  np.testing.assert_allclose(
    metrics["kl/old"].compute(), -d.mean(), rtol=1e-4, atol=1e-6
  )
  np.testing.assert_allclose(
    metrics["kl/old_abs"].compute(), np.abs(d).mean(), rtol=1e-5
  )
  ratio, up = np.exp(d), batch.advantages[batch.mask] > 0
  clipped = np.where(up, ratio > 1.2, ratio < 0.8)
  np.testing.assert_allclose(
    metrics["ratio/clip_share"].compute(), clipped.mean(), rtol=1e-6
  )
  high = metrics["ratio/clip_high_share"].compute()
  np.testing.assert_allclose(high, (clipped & up).mean(), rtol=1e-6)
