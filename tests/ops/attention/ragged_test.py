"""The TPU kernel's layout and arguments.

JAX's own reference stands in for the kernel, which the interpreter cannot run.
"""

import jax
from jax.experimental.pallas.ops.tpu import ragged_paged_attention as kernel
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.ops import attention
from jaxrl_entropy.ops.attention import paged
from jaxrl_entropy.ops.attention.paged import View
from jaxrl_entropy.ops.attention.ragged import RaggedPages

ROWS, LENGTH, HEADS, KV_HEADS, DIM, SIZE = 2, 8, 4, 2, 128, 8
TABLE = jnp.array([[2, 1], [4, 3]])


def make_heads(heads, seed):
  shape = (ROWS, LENGTH, heads, DIM)
  return jax.random.normal(jax.random.key(seed), shape)


def make_view(start, length):
  start, count = jnp.full(ROWS, start), jnp.full(ROWS, length)
  in_use = paged.pages_in_use(start, count, SIZE)
  return View(TABLE, start, count, in_use)


def make_pages():
  return RaggedPages(jnp.zeros((5, SIZE, 2 * KV_HEADS, DIM)))


@pytest.fixture
def reference(monkeypatch):
  def compute(*args, num_kv_pages_per_block, num_queries_per_block, **settings):
    assert num_kv_pages_per_block <= TABLE.shape[1]
    assert num_queries_per_block > 0
    kernel.dynamic_validate_inputs(*args, **settings)
    # It slices by Python's numbers, and promotes types freely.
    with jax.numpy_dtype_promotion("standard"):
      return kernel.ref_ragged_paged_attention(*args, **settings)

  monkeypatch.setattr(kernel, "ragged_paged_attention", compute)


@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize(("window", "softcap"), [(0, 0.0), (3, 1.5)])
def test_a_prompt_and_single_tokens_equal_the_whole_row(window, softcap):
  q, k, v = (
    make_heads(n, i) for i, n in enumerate((HEADS, KV_HEADS, KV_HEADS))
  )
  expected = attention.attend(
    q, k, v, jnp.ones((ROWS, LENGTH), jnp.int32), window, softcap=softcap
  )
  pages, mixed = make_pages(), []
  for start, end in ((0, 6), (6, 7), (7, 8)):
    part, view = slice(start, end), make_view(start, end - start)
    pages = pages.write(k[:, part], v[:, part], view)
    mixed.append(pages.attend(q[:, part], view, window, softcap))
  np.testing.assert_allclose(
    jnp.concatenate(mixed, axis=1), expected, atol=1e-5
  )


@pytest.mark.usefixtures("reference")
def test_padding_may_reach_beyond_the_last_page():
  """As a prompt's last chunk does, at the end of the longest sequence."""
  capacity = TABLE.shape[1] * SIZE
  heads = (HEADS, KV_HEADS, KV_HEADS)
  q, k, v = (
    jnp.concatenate([make_heads(n, i), make_heads(n, i + 3)], axis=1)
    for i, n in enumerate(heads)
  )
  expected = attention.attend(q, k, v, jnp.ones((ROWS, capacity), jnp.int32))
  pages = make_pages()
  for start, end in ((0, 8), (8, 12)):
    part, view = slice(start, end), make_view(start, end - start)
    pages = pages.write(k[:, part], v[:, part], view)
  view = make_view(12, 4)
  padded = [
    jnp.pad(x[:, 12:], [(0, 0), (0, 4), (0, 0), (0, 0)]) for x in (q, k, v)
  ]
  pages = pages.write(*padded[1:], view)
  mixed = pages.attend(padded[0], view)
  np.testing.assert_allclose(mixed[:, :4], expected[:, 12:], atol=1e-5)
