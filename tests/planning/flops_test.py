import jax
from jax.experimental import pallas as pl
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec as P
import pytest

from jaxrl_entropy.planning import flops

X, W = jnp.zeros((4, 8)), jnp.zeros((8, 8))
ONE = 2 * 4 * 8 * 8  # X @ W


def _scan(x, w):
  return jax.lax.scan(lambda c, _: (c @ w, None), x, None, length=5)[0]


def _fori(x, w):
  return jax.lax.fori_loop(0, 7, lambda _, c: c @ w, x)


def _while(x, w):
  return jax.lax.while_loop(
    lambda c: c[0] < 6, lambda c: (c[0] + 1, c[1] @ w), (jnp.int32(0), x)
  )


def _cond(x, w):
  return jax.lax.cond(x[0, 0] > 0, lambda: x @ w @ w, lambda: x)


@pytest.mark.parametrize(
  ("function", "times"),
  [
    (lambda x, w: x @ w, 1),
    (jax.jit(lambda x, w: jnp.einsum("bi,io->ob", x, w)), 1),
    (_scan, 5),
    (_fori, 7),
    (_while, 6),
    (_cond, 2),
    (lambda x, w: _scan(_scan(x, w), w), 10),
    (jax.grad(lambda x, w: (x @ w).sum(), argnums=(0, 1)), 3),
    # The forward, what the backward recomputes of it, and the backward.
    (jax.grad(jax.checkpoint(lambda x, w: jnp.sin(x @ w).sum()), 1), 3),
    (lambda x, w: x.sum() + w.sum(), 0),
  ],
)
def test_counts_every_multiplication(function, times):
  assert flops.count(function, X, W) == times * ONE


def test_gradient_without_the_dead_forward():
  loss = lambda w: ((X @ w) ** 2).sum()  # noqa: E731
  assert flops.count(jax.grad(loss), W) == 2 * ONE


def test_each_row_of_a_grouped_product_meets_one_matrix():
  groups = jnp.stack([W] * 3)
  sizes = jnp.array([1, 0, 3], jnp.int32)

  def total(x, groups):
    return jax.lax.ragged_dot(x, groups, sizes).sum()

  assert flops.count(total, X, groups) == ONE
  gradient = jax.grad(total, argnums=(0, 1))
  assert flops.count(gradient, X, groups) == 3 * ONE
  # Of 12 experts this device has 3, and a quarter of the rows is theirs.
  assert flops.count(gradient, X, groups, experts=12) == 3 * ONE / 4


def test_a_manual_program_counts_on_each_device():
  mesh = jax.make_mesh((1,), ("data",), (AxisType.Auto,))
  product = jax.shard_map(
    lambda x, w: x @ w,
    mesh=mesh,
    in_specs=(P("data"), P()),
    out_specs=P("data"),
  )
  assert flops.count(product, X, W) == ONE


def test_a_kernel_counts_as_it_says():
  def kernel(x, out):
    out[...] = x[...]

  call = pl.pallas_call(
    kernel,
    out_shape=X,
    cost_estimate=pl.CostEstimate(
      flops=99, bytes_accessed=0, transcendentals=0
    ),
  )
  assert flops.count(call, X) == 99
