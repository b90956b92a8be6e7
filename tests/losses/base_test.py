import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy import losses
from tests.losses import batches

KEY = jax.random.key(0)


def run(*transforms, batch=None):
  objective = losses.objective(*transforms, aggregate=losses.token_mean())
  return objective(batches.make() if batch is None else batch, KEY)


def first_tokens(loss, batch, key):
  del loss, key
  return batch.position == 0


def add(amount):
  def update(loss, batch, key):
    del batch, key
    return loss.replace(loss=loss.loss + amount)

  return update


def test_a_chain_runs_in_order_and_nests():
  def double(loss, batch, key):
    del batch, key
    return loss.replace(loss=2.0 * loss.loss)

  flat = run(add(1.0), double, add(3.0))[0]
  nested = run(losses.chain(add(1.0), losses.chain(double)), add(3.0))[0]
  np.testing.assert_allclose(flat, 5.0, rtol=1e-6)
  np.testing.assert_allclose(nested, 5.0, rtol=1e-6)


def test_each_transform_of_a_chain_has_its_own_key():
  seen = []

  def spy(loss, batch, key):
    del batch
    seen.append(tuple(np.asarray(jax.random.key_data(key)).tolist()))
    return loss

  run(spy, spy, losses.chain(spy, spy))
  assert len(set(seen)) == 4


def test_masked_changes_the_picked_tokens_alone():
  batch = batches.make()
  value, metrics = run(losses.masked(add(1.0), first_tokens))
  picked = (batch.position == 0)[batch.mask]
  np.testing.assert_allclose(value, picked.mean(), rtol=1e-6)
  np.testing.assert_allclose(
    metrics["select/share"].compute(), picked.mean(), rtol=1e-6
  )
  assert metrics["select/effective_penalty"].compute() == 1.0
  first = batch.mask & (batch.position == 0)
  np.testing.assert_allclose(
    metrics["select/rewarded"].compute(), (batch.advantages > 0)[first].mean()
  )
  np.testing.assert_allclose(
    metrics["select/probability"].compute(),
    np.exp(batch.logp[first]).mean(),
    rtol=1e-6,
  )


def test_masked_never_picks_padding():
  def everything(loss, batch, key):
    del loss, key
    return jnp.ones_like(batch.mask)

  _, metrics = run(losses.masked(add(1.0), everything, "all"))
  assert metrics["all/share"].compute() == 1.0


def test_selection_carries_no_gradient():
  def soft(loss, batch, key):
    del key
    return loss.loss + batch.logp > -1.0

  def value(logp):
    batch = batches.make().replace(logp=logp)
    return run(
      add(1.0), losses.masked(losses.set_to_zero(), soft), batch=batch
    )[0]

  assert (jax.grad(value)(jnp.asarray(batches.make().logp)) == 0).all()


def test_set_to_zero_takes_value_and_gradient():
  batch = batches.make()

  def value(logp):
    return run(
      losses.policy_gradient(),
      losses.masked(losses.set_to_zero(), first_tokens),
      batch=batch.replace(logp=logp),
    )[0]

  gradient = np.asarray(jax.grad(value)(jnp.asarray(batch.logp)))
  zero = (batch.position == 0) | ~batch.mask
  assert (gradient[zero] == 0).all()
  assert (gradient[~zero] != 0).all()


def test_shadow_logs_and_changes_nothing():
  rule = losses.top_covariance(0.2)
  plain = run(losses.ppo_clip())
  shadowed = run(losses.ppo_clip(), losses.shadow(rule, "would"))
  acted = run(losses.ppo_clip(), losses.masked(losses.set_to_zero(), rule))
  assert plain[0] == shadowed[0] != acted[0]
  assert (
    shadowed[1]["would/share"].compute() == acted[1]["select/share"].compute()
  )


def test_a_shadow_before_a_random_rule_leaves_its_draw_alone():
  def random(loss, batch, key):
    del loss
    return jax.random.bernoulli(key, 0.5, batch.mask.shape)

  acting = losses.masked(losses.set_to_zero(), random)
  alone = run(losses.ppo_clip(), acting)
  shadowed = run(losses.shadow(random, "would"), losses.ppo_clip(), acting)
  assert alone[0] == shadowed[0]


def test_two_random_rules_draw_apart():
  def noise(loss, batch, key):
    del batch
    return loss.replace(loss=jax.random.normal(key, loss.loss.shape))

  assert run(noise)[0] != run(noise, noise)[0]


def test_a_coefficient_may_be_traced():
  batch = batches.make()

  @jax.jit
  def value(fraction, coefficient):
    rule = losses.top_covariance(fraction)
    return run(
      losses.policy_gradient(),
      losses.masked(losses.add_kl(coefficient), rule),
      batch=batch,
    )

  off, metrics = value(0.0, 1.0)
  assert off == value(0.5, 0.0)[0] != value(0.5, 1.0)[0]
  assert metrics["select/share"].compute() == 0
