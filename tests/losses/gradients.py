"""What a transform does to the loss and the gradient of a random batch."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy import losses
from jaxrl_entropy.types import TokenBatch

KEY = jax.random.key(0)


def random_batch(seed=0, rows=6, length=8) -> TokenBatch:
  """Ragged rows of random tokens, every optional field present, NaN padding."""
  rng = np.random.default_rng(seed)
  mask = np.arange(length) < rng.integers(1, length + 1, rows)[:, None]

  def tokens(low, high):
    values = rng.uniform(low, high, (rows, length)).astype(np.float32)
    return jnp.asarray(np.where(mask, values, np.nan))

  ids = np.broadcast_to(np.arange(rows, dtype=np.int32)[:, None], mask.shape)
  logp = tokens(-2.5, -0.2)
  # Two-point distributions: p on the token and the rest on another one.
  p = jnp.exp(logp)
  rest = 1 - p
  return TokenBatch(
    logp=logp,
    old_logp=logp + tokens(-0.3, 0.3),
    advantages=tokens(-1.5, 1.5),
    mask=jnp.asarray(mask),
    response=jnp.asarray(ids),
    position=jnp.asarray(np.broadcast_to(np.arange(length), mask.shape)),
    entropy=-p * logp - rest * jnp.log(rest),
    ref_logp=logp + tokens(-0.6, 0.6),
    sampler_logp=logp + tokens(-0.1, 0.1),
    values=tokens(-1, 1),
    old_values=tokens(-1, 1),
    returns=tokens(-1, 1),
    sum_p2=p**2 + rest**2,
    sum_p2_logp=p**2 * logp + rest**2 * jnp.log(rest),
    old_entropy=tokens(0.1, 1.0),
    teacher_logp=logp + tokens(-1.0, 1.0),
    correct=jnp.asarray((ids % 2).astype(np.float32)),
    group=jnp.asarray(ids // 2),
    group_accuracy=jnp.asarray((ids // 2 % 3 / 2).astype(np.float32)),
    nucleus_entropy=tokens(0.1, 1.0),
    rank=jnp.floor(tokens(0.0, 5.0)),
    teacher_kl=tokens(0.0, 2.0),
    num_responses=rows,
    max_length=length,
  )


def objective(*transforms) -> losses.Objective:
  return losses.objective(*transforms, aggregate=losses.token_mean())


def value_and_grad(objective, batch, field="logp"):
  def value(x):
    return objective(batch.replace(**{field: x}), KEY)[0]

  return jax.jit(jax.value_and_grad(value))(getattr(batch, field))


def weights_of(transform, batch):
  """The factor on each token's gradient under the policy gradient."""
  plain = objective(losses.policy_gradient())
  _, before = value_and_grad(plain, batch)
  chained = objective(losses.policy_gradient(), transform)
  _, after = value_and_grad(chained, batch)
  return np.where(batch.mask, after / np.where(batch.mask, before, 1), np.nan)


def check_against_differences(objective, batch, field="logp", step=1e-2):
  """The gradient along a random direction, by central differences."""
  x = getattr(batch, field)
  _, gradient = value_and_grad(objective, batch, field)
  assert np.isfinite(gradient).all()
  assert np.abs(gradient[~batch.mask]).max(initial=0) == 0

  @jax.jit
  def value(x):
    return objective(batch.replace(**{field: x}), KEY)[0]

  rng = np.random.default_rng(1)
  for _ in range(3):
    direction = jnp.asarray(rng.normal(size=x.shape), jnp.float32)
    slope = (value(x + step * direction) - value(x - step * direction)) / (
      2 * step
    )
    exact = jnp.sum(jnp.where(batch.mask, gradient * direction, 0.0))
    np.testing.assert_allclose(exact, slope, rtol=2e-2, atol=2e-4)
