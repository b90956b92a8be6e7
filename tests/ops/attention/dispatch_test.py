import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.ops import attention
from jaxrl_entropy.ops.attention import splash, xla
from tests import devices

close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)


attend = jax.jit(
  attention.attend, static_argnames=("window", "backend", "softcap")
)


def make_inputs(
  length=12, heads=6, kv_heads=2, dim=4, rows=2, segments=3, seed=0
):
  rng = np.random.default_rng(seed)

  def normal(heads):
    return rng.normal(size=(rows, length, heads, dim)).astype(np.float32)

  ids = np.sort(rng.integers(1, segments + 1, (rows, length)), axis=1)
  ids[:, length - length // 4 :] = 0  # padding
  return normal(heads), normal(kv_heads), normal(kv_heads), ids.astype(np.int32)


def _reference(q, k, v, segments, window=0, softcap=0.0):
  """A loop over rows, heads and queries, in float64."""
  q, k, v = (x.astype(float) for x in (q, k, v))
  rows, length, heads, dim = q.shape
  group = heads // k.shape[2]
  out = np.zeros(q.shape)
  for b, t, h in np.ndindex(rows, length, heads):
    low = max(0, t - window + 1) if window else 0
    seen = [s for s in range(low, t + 1) if segments[b, s] == segments[b, t]]
    scores = k[b, seen, h // group] @ q[b, t, h] / np.sqrt(dim)
    scores = softcap * np.tanh(scores / softcap) if softcap else scores
    weights = np.exp(scores - scores.max())
    out[b, t, h] = weights / weights.sum() @ v[b, seen, h // group]
  return out


@pytest.mark.parametrize("window", [0, 1, 3, 50])
@pytest.mark.parametrize("block", [5, 512])
def test_xla_agrees_with_a_loop(window, block, monkeypatch):
  monkeypatch.setattr(xla, "BLOCK", block)
  inputs = make_inputs()
  attend.clear_cache()
  got = attend(*inputs, window=window, backend="xla")
  close(got, _reference(*inputs, window))


def test_scores_are_capped_before_the_mask():
  inputs = make_inputs()
  got = attend(*inputs, window=3, backend="xla", softcap=0.8)
  close(got, _reference(*inputs, 3, 0.8))


def test_cudnn_has_no_cap():
  with pytest.raises(ValueError, match="'cudnn' has no softcap: use 'xla'"):
    attend(*make_inputs(), backend="cudnn", softcap=1.0)


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="cuDNN runs there")
def test_cudnn_needs_a_gpu():
  with pytest.raises(ValueError, match="needs an NVIDIA GPU"):
    attend(*make_inputs(), backend="cudnn")


def test_blocks_change_no_gradient(monkeypatch):
  *qkv, segments = make_inputs()

  def gradient():
    def total(q, k, v):
      out = attention.attend(q, k, v, segments, window=4, backend="xla")
      return jnp.sum(jnp.sin(out))

    return jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*qkv)

  whole = gradient()
  monkeypatch.setattr(xla, "BLOCK", 5)
  jax.tree.map(close, gradient(), whole)


@pytest.mark.parametrize(("window", "softcap"), [(0, 0.0), (100, 1.5)])
def test_splash_agrees_with_xla(window, softcap):
  inputs = make_inputs(length=256, heads=4, kv_heads=2, dim=64, rows=1)
  options = {"window": window, "softcap": softcap}
  got = splash.attend(*inputs, **options, interpret=True)
  want = attention.attend(*inputs, **options, backend="xla")
  close(got, want, atol=1e-4)


@pytest.mark.parametrize("window", [0, 200])
def test_splash_and_its_gradient_lower_for_tpus(window):
  q, k, v, segments = make_inputs(length=256, heads=4, kv_heads=2, dim=128)

  def total(q, k, v):
    return jnp.sum(splash.attend(q, k, v, segments, window))

  step = jax.jit(jax.grad(total, argnums=(0, 1, 2))).trace(q, k, v)
  text = step.lower(lowering_platforms=("tpu",)).as_text()
  assert text.count("tpu_custom_call") >= 3


def test_splash_refuses_ragged_rows():
  with pytest.raises(ValueError, match="multiple of 128 tokens"):
    attention.attend(*make_inputs(), backend="splash")


def test_unknown_backend():
  with pytest.raises(ValueError, match="'flash' is unknown; one of auto"):
    attention.attend(*make_inputs(), backend="flash")


def _on_meshes():
  inputs = make_inputs(length=16, heads=8, kv_heads=4, rows=4)
  results = []
  for sizes in (
    {"data": 2, "fsdp": 2, "tensor": 2},
    {"data": 2, "context": 4},
    {"tensor": 8},
  ):
    with jax.set_mesh(sharding.make_mesh(**sizes)):
      attend = functools.partial(attention.attend, window=5, backend="xla")
      results.append(jax.jit(attend)(*inputs))
  long = make_inputs(length=128, heads=8, kv_heads=2, dim=8, rows=2)
  with jax.set_mesh(sharding.make_mesh(data=2, tensor=4)):
    attend = functools.partial(splash.attend, interpret=True)
    results.append(jax.jit(attend)(*long))
  return results


def _gradients(attend):
  """What `attend` gives, and the gradient of a function of it."""
  q, k, v, segments = make_inputs(
    length=256, heads=4, kv_heads=2, dim=8, rows=2
  )

  def total(q, k, v):
    mixed = attend(q, k, v, segments)
    return jnp.sum(jnp.sin(mixed)), mixed

  return jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))(q, k, v)


def _splash_on_split_rows():
  with jax.set_mesh(sharding.make_mesh(data=2, tensor=2, context=2)):
    return _gradients(functools.partial(splash.attend, interpret=True))


def test_splash_shares_the_keys_of_a_row_that_is_split():
  got = devices.run(_splash_on_split_rows)
  want = _gradients(functools.partial(attention.attend, backend="xla"))
  jax.tree.map(functools.partial(close, atol=1e-4), got, want)


def test_a_mesh_changes_nothing():
  *xla, on_splash = devices.run(_on_meshes)
  inputs = make_inputs(length=16, heads=8, kv_heads=4, rows=4)
  for result in xla:
    close(result, _reference(*inputs, window=5))
  long = make_inputs(length=128, heads=8, kv_heads=2, dim=8, rows=2)
  close(on_splash, attention.attend(*long, backend="xla"), atol=1e-4)


def test_suffixes_see_their_shared_prefix_and_not_each_other():
  prefix = attention.SEGMENTS_PER_PREFIX
  row = jnp.array([[prefix, prefix, prefix + 1, prefix + 2, 2 * prefix, 7, 0]])
  seen = attention.visible(row, row, window=0)[0]
  expected = np.zeros((7, 7), bool)
  for query, keys in enumerate(
    ([0], [0, 1], [0, 1, 2], [0, 1, 3], [4], [5], [6])
  ):
    expected[query, keys] = True
  np.testing.assert_array_equal(seen, expected)
