import functools
import re

import jax
import jax.numpy as jnp
from jax.test_util import check_grads
import numpy as np
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.ops.logprobs import TokenStats, head_copies, token_stats
from tests import devices

FIELDS = ("logp", "entropy", "sum_p2", "sum_p2_logp")


def _inputs(shape=(3, 5), width=8, vocab=37, seed=0, scale=1.0):
  rng = np.random.default_rng(seed)
  hidden = rng.normal(size=(*shape, width)).astype(np.float32)
  head = (scale * rng.normal(size=(width, vocab))).astype(np.float32)
  targets = rng.integers(vocab, size=shape).astype(np.int32)
  return hidden, head, targets


def _reference(hidden, head, targets, temperature=1.0):
  """The four statistics in the precision of the inputs, by the definitions."""
  logits = hidden @ head / temperature
  logp = jax.nn.log_softmax(logits, axis=-1)
  p = jnp.exp(logp)
  finite = jnp.where(p > 0, logp, 0.0)
  picked = jnp.take_along_axis(logp, targets[..., None], axis=-1)[..., 0]
  return TokenStats(
    picked,
    -jnp.sum(p * finite, axis=-1),
    jnp.sum(p * p, axis=-1),
    jnp.sum(p * p * finite, axis=-1),
  )


def _reference64(hidden, head, targets, temperature=1.0):
  """The same in NumPy's float64."""
  logits = hidden.astype(float) @ head.astype(float) / temperature
  logits -= logits.max(-1, keepdims=True)
  logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  p = np.exp(logp)
  return TokenStats(
    np.take_along_axis(logp, targets[..., None], -1)[..., 0],
    -(p * logp).sum(-1),
    (p * p).sum(-1),
    (p * p * logp).sum(-1),
  )


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_agrees_with_float64_at_a_real_vocabulary(temperature):
  inputs = _inputs((2, 3), width=64, vocab=49152, scale=0.5)
  got = token_stats(*inputs, temperature=temperature, moments=True)
  want = _reference64(*inputs, temperature)
  for field in FIELDS:
    np.testing.assert_allclose(
      getattr(got, field), getattr(want, field), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("chunk", [1, 4, 7, 15, 100])
def test_values_and_gradients_do_not_depend_on_the_chunk(chunk):
  hidden, head, targets = _inputs((3, 5))
  weights = np.random.default_rng(1).normal(size=(4, 3, 5)).astype(np.float32)

  def total(stats):
    parts = [getattr(stats, field) for field in FIELDS]
    return jnp.sum(weights * jnp.stack(parts))

  def ours(hidden, head, temperature):
    stats = token_stats(
      hidden, head, targets, temperature=temperature, chunk=chunk, moments=True
    )
    return total(stats)

  def plain(hidden, head, temperature):
    return total(_reference(hidden, head, targets, temperature))

  got, want = (
    jax.value_and_grad(f, argnums=(0, 1, 2))(hidden, head, jnp.float32(1.3))
    for f in (ours, plain)
  )
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4),
    got,
    want,
  )


def test_gradient_agrees_with_finite_differences():
  hidden, head, targets = _inputs((2, 2), width=4, vocab=7)

  def entropy(hidden, head):
    return token_stats(hidden, head, targets, chunk=3).entropy.sum()

  check_grads(
    entropy, (hidden, head), order=1, modes=("rev",), rtol=2e-2, atol=2e-2
  )


def test_impossible_tokens_add_nothing():
  hidden, head, targets = _inputs(vocab=8)
  hidden = np.abs(hidden)
  targets = targets % 7
  masked = np.concatenate([head[:, :7], np.full_like(head[:, :1], -np.inf)], 1)
  got = token_stats(hidden, masked, targets, moments=True)
  want = token_stats(hidden, head[:, :7], targets, moments=True)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-5), got, want
  )

  def total(head):
    stats = token_stats(hidden, head, targets, moments=True)
    return sum(jnp.sum(getattr(stats, field)) for field in FIELDS)

  gradient = jax.grad(total)(masked)
  assert np.isfinite(gradient).all()
  np.testing.assert_array_equal(gradient[:, 7], 0.0)


def test_columns_beyond_the_vocabulary_do_not_count():
  hidden, head, targets = _inputs(vocab=9)
  targets = targets % 7
  want = token_stats(hidden, head[:, :7], targets, moments=True)

  def total(head):
    stats = token_stats(hidden, head, targets, moments=True, vocabulary=7)
    return sum(jnp.sum(getattr(stats, field)) for field in FIELDS), stats

  gradient, stats = jax.grad(total, has_aux=True)(head)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-5), stats, want
  )
  assert np.isfinite(gradient).all()
  np.testing.assert_array_equal(gradient[:, 7:], 0.0)


@pytest.mark.parametrize("cap", [0.7, 3.0])
def test_capped_logits(cap):
  hidden, head, targets = _inputs(vocab=9)
  targets = targets % 7

  def capped(hidden, head):
    """The statistics of the logits themselves: an identity for the head."""
    logits = cap * jnp.tanh(hidden @ head[:, :7] / cap)
    return total(
      token_stats(logits, np.eye(7, dtype=np.float32), targets, **on)
    )

  def fused(hidden, head):
    stats = token_stats(
      hidden, head, targets, vocabulary=7, softcap=cap, chunk=4, **on
    )
    return total(stats)

  def total(stats):
    return sum(jnp.sum(getattr(stats, field)) for field in FIELDS)

  on = {"temperature": 0.8, "moments": True}
  want, got = (
    jax.value_and_grad(f, argnums=(0, 1))(hidden, head) for f in (capped, fused)
  )
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-5),
    got,
    want,
  )


def test_extreme_logits_give_an_entropy_of_zero():
  hidden, head, targets = _inputs(scale=1e4)
  stats = token_stats(hidden, head, targets)
  assert np.isfinite(stats.entropy).all()
  np.testing.assert_allclose(stats.entropy, 0.0, atol=1e-3)


def test_moments_are_left_out_unless_asked_for():
  stats = token_stats(*_inputs())
  assert stats.sum_p2 is None
  assert stats.sum_p2_logp is None


def test_bfloat16_hidden_states_give_float32_statistics():
  hidden, head, targets = _inputs()
  half = hidden.astype(jnp.bfloat16)
  stats, backward = jax.vjp(
    lambda x, w: token_stats(x, w, targets).entropy, half, head
  )
  assert stats.dtype == jnp.float32
  d_hidden, d_head = backward(jnp.ones_like(stats))
  assert (d_hidden.dtype, d_head.dtype) == (jnp.bfloat16, jnp.float32)
  want = token_stats(hidden, head, targets).entropy
  np.testing.assert_allclose(stats, want, atol=0.05)


def test_the_logits_of_the_whole_batch_never_exist():
  hidden, head, targets = _inputs((16, 64), width=16, vocab=1000)

  def loss(hidden, head):
    stats = token_stats(hidden, head, targets, chunk=64, moments=True)
    return jnp.sum(stats.logp + stats.entropy)

  step = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(hidden, head).compile()
  logits_bytes = 16 * 64 * 1000 * 4
  assert step.memory_analysis().temp_size_in_bytes < logits_bytes / 2


def _nucleus_entropy(hidden, head, share):
  """By sorting: the tokens before the one whose sum reaches the share."""
  p = jax.nn.softmax(hidden @ head, axis=-1)
  ordered = -jnp.sort(-p, axis=-1)
  inside = jnp.cumsum(ordered, axis=-1) < share
  q = jnp.where(inside, ordered, 0.0)
  total = q.sum(-1, keepdims=True)
  q = q / jnp.where(total > 0, total, 1.0)
  return -jnp.sum(jnp.where(q > 0, q * jnp.log(jnp.where(q > 0, q, 1)), 0), -1)


@pytest.mark.parametrize("share", [0.3, 0.8, 0.95])
def test_nucleus_entropy_is_that_of_the_sorted_tokens(share):
  hidden, head, targets = _inputs((3, 5), scale=0.7)
  weights = np.arange(15, dtype=np.float32).reshape(3, 5)

  def ours(hidden, head):
    stats = token_stats(hidden, head, targets, chunk=4, nucleus=share)
    return jnp.sum(weights * stats.nucleus_entropy), stats.nucleus_entropy

  def sorted_(hidden, head):
    entropy = _nucleus_entropy(hidden, head, share)
    return jnp.sum(weights * entropy), entropy

  (_, got), gradient = jax.value_and_grad(ours, (0, 1), has_aux=True)(
    hidden, head
  )
  (_, want), expected = jax.value_and_grad(sorted_, (0, 1), has_aux=True)(
    hidden, head
  )
  np.testing.assert_allclose(got, want, atol=1e-5)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4),
    gradient,
    expected,
  )


def test_a_likely_token_leaves_no_nucleus():
  hidden, head, targets = _inputs(scale=30.0)
  stats = token_stats(hidden, head, targets, nucleus=0.5)
  sure = np.asarray(jax.nn.softmax(hidden @ head).max(-1) > 0.5)
  assert sure.any()
  np.testing.assert_array_equal(stats.nucleus_entropy[sure], 0.0)


def test_rank_counts_the_likelier_tokens():
  hidden, head, targets = _inputs()
  stats = token_stats(hidden, head, targets, chunk=4, rank=True)
  logits = hidden @ head
  picked = np.take_along_axis(logits, targets[..., None], -1)
  np.testing.assert_array_equal(stats.rank, (logits > picked).sum(-1))


MESHES = (
  {"data": 2, "fsdp": 2, "tensor": 2},
  {"fsdp": 4, "context": 2},
  {"tensor": 8},
  {"data": 8},
)


def _loss(hidden, head, temperature):
  targets = _inputs((4, 6), vocab=40)[2] % 37
  weights = np.arange(1, 25, dtype=np.float32).reshape(4, 6)
  stats = token_stats(
    hidden,
    head,
    targets,
    temperature=temperature,
    chunk=3,
    moments=True,
    vocabulary=37,
  )
  total = sum(getattr(stats, field) for field in FIELDS)
  return jnp.sum(weights * total), stats


def _loss_of_copies(hidden, head, temperature):
  return _loss(hidden, head_copies(head), temperature)


_STEP, _STEP_OF_COPIES = (
  jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
  for loss in (_loss, _loss_of_copies)
)


def _step_inputs():
  return *_inputs((4, 6), vocab=40)[:2], jnp.float32(1.1)


def _nucleus_loss(hidden, head):
  targets = _inputs((4, 6), vocab=40)[2] % 37
  stats = token_stats(
    hidden, head, targets, nucleus=0.8, rank=True, vocabulary=37
  )
  return jnp.sum(jnp.square(stats.nucleus_entropy)), stats


_NUCLEUS_STEP = jax.jit(
  jax.value_and_grad(_nucleus_loss, argnums=(0, 1), has_aux=True)
)


def _nucleus_on_a_mesh():
  mesh = sharding.make_mesh(fsdp=2, tensor=2, devices=jax.devices()[:4])
  with jax.set_mesh(mesh):
    return _NUCLEUS_STEP(*_step_inputs()[:2])


def test_the_nucleus_may_be_spread_over_a_mesh():
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4),
    devices.run(_nucleus_on_a_mesh),
    _NUCLEUS_STEP(*_step_inputs()[:2]),
  )


def _on_meshes():
  results, texts = [], []
  for sizes in MESHES:
    with jax.set_mesh(sharding.make_mesh(**sizes)):
      step = jax.jit(_STEP).lower(*_step_inputs()).compile()
      results.append(step(*_step_inputs()))
      results.append(jax.jit(_STEP_OF_COPIES)(*_step_inputs()))
      texts.append(step.as_text())
  return results, texts


def test_a_mesh_changes_nothing_and_sums_the_head_gradient_once():
  alone = _STEP(*_step_inputs())
  close = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4)
  results, texts = devices.run(_on_meshes)
  for result in results:
    jax.tree.map(close, result, alone)
  for text in texts:
    loops = text.partition("ENTRY")[0]
    # The head is [8, 40]; inside of the loop over chunks no part of it moves.
    assert not re.search(r"f32\[[248],\d+\]\S* (all-reduce|reduce-sc)", loops)
