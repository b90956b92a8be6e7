"""Pages against the attention over whole rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.ops import attention
from jaxrl_entropy.ops.attention import paged
from jaxrl_entropy.ops.attention.paged import Pages, View

ROWS, LENGTH, HEADS, KV_HEADS, DIM, SIZE = 3, 11, 6, 2, 8, 4
TABLE = jnp.array([[5, 2, 7], [1, 9, 3], [8, 4, 6]])


def make_heads(heads, seed):
  shape = (ROWS, LENGTH, heads, DIM)
  return jax.random.normal(jax.random.key(seed), shape)


def make_view(start, count, pages_per_block=1):
  start = jnp.full(ROWS, start)
  count = jnp.asarray(count)
  in_use = paged.pages_in_use(start, count, SIZE)
  return View(TABLE, start, count, in_use, pages_per_block)


@pytest.mark.parametrize("pages_per_block", [1, 2, 8])
@pytest.mark.parametrize("window", [0, 3, 5])
@pytest.mark.parametrize("chunk", [1, 3, LENGTH])
def test_chunks_through_pages_equal_the_whole_row(
  window, chunk, pages_per_block
):
  q, k, v = (
    make_heads(HEADS, 0),
    make_heads(KV_HEADS, 1),
    make_heads(KV_HEADS, 2),
  )
  expected = attention.attend(
    q, k, v, jnp.ones((ROWS, LENGTH), jnp.int32), window
  )
  # The content of a page before its tokens are written must not matter.
  dirt = jnp.full((10, KV_HEADS, SIZE, DIM), 1e3)
  pages, mixed = Pages(dirt, dirt), []
  for start in range(0, LENGTH, chunk):
    part = slice(start, start + chunk)
    length = k[:, part].shape[1]
    view = make_view(start, [length] * ROWS, pages_per_block)
    pages = pages.write(k[:, part], v[:, part], view)
    mixed.append(pages.attend(q[:, part], view, window))
  np.testing.assert_allclose(
    jnp.concatenate(mixed, axis=1), expected, atol=1e-5
  )


def test_padding_writes_only_to_page_zero():
  k = make_heads(KV_HEADS, 1)
  empty = jnp.zeros((10, KV_HEADS, SIZE, DIM))
  view = make_view(0, [LENGTH, 0, 2])
  pages = Pages(empty, empty).write(k, k, view)
  touched = np.flatnonzero(np.abs(pages.k).sum((1, 2, 3)))
  assert set(touched) <= {0, 5, 2, 7, 8}
  np.testing.assert_array_equal(pages.k[8, :, :2], k[2, :2].swapaxes(0, 1))
  assert not np.asarray(pages.k[8, :, 2:]).any()


def test_pages_in_use_follow_the_longest_row_with_new_tokens():
  start, count = jnp.array([3, 40, 8]), jnp.array([1, 0, 1])
  assert int(paged.pages_in_use(start, count, SIZE)) == 3


def test_copy_moves_only_as_many_pages_as_asked():
  x = jnp.arange(6.0).reshape(6, 1, 1, 1)
  copied = paged.copy(
    Pages(x, -x), jnp.array([1, 2, 3]), jnp.array([4, 5, 0]), jnp.int32(2)
  )
  assert copied.k.reshape(-1).tolist() == [0, 1, 2, 3, 1, 2]
  assert copied.v.reshape(-1).tolist() == [0, -1, -2, -3, -1, -2]


def test_blocks_before_the_window_are_not_read():
  start, window = jnp.array([10, 9, 2]), 3
  k = make_heads(KV_HEADS, 1)
  empty = jnp.zeros((10, KV_HEADS, SIZE, DIM))
  whole = Pages(empty, empty).write(k, k, make_view(0, [LENGTH] * ROWS))
  # Keys [0, 4) of the first two rows, which see from 8 and from 7 on.
  bad = jnp.array([5, 1])
  poisoned = Pages(whole.k.at[bad].set(jnp.nan), whole.v.at[bad].set(jnp.nan))
  count = jnp.ones(ROWS, jnp.int32)
  view = View(TABLE, start, count, paged.pages_in_use(start, count, SIZE))
  q = make_heads(HEADS, 0)[:, :1]
  np.testing.assert_array_equal(
    poisoned.attend(q, view, window), whole.attend(q, view, window)
  )
