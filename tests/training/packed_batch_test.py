import jax
import numpy as np
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.ops.attention import SEGMENTS_PER_PREFIX
from jaxrl_entropy.training import packed_batch

PROMPTS = [np.array([5, 6]), np.array([7])]
RESPONSES = [np.array([8, 9, 1]), np.array([2])]


def fill(placement, rows, length):
  return packed_batch.fill_rows(
    PROMPTS, RESPONSES, placement, rows=rows, length=length
  )


def test_rows_hold_prompt_then_response():
  rows = fill(packed_batch.one_per_row(2), 3, 6)
  np.testing.assert_array_equal(
    rows.tokens, [[5, 6, 8, 9, 1, 0], [7, 2, 0, 0, 0, 0], [0] * 6]
  )
  np.testing.assert_array_equal(rows.mask.sum(1), [3, 1, 0])
  np.testing.assert_array_equal(rows.positions[0], [0, 1, 2, 3, 4, 0])
  assert len(set(rows.segments[0, :5])) == 1
  assert rows.segments[1, 0] != rows.segments[0, 0]
  np.testing.assert_array_equal(rows.segments[1, 2:], 0)


def test_responses_behind_one_prompt_are_branches_of_its_segment():
  rows = packed_batch.fill_rows(
    [np.array([5, 6, 7])] * 2,
    RESPONSES,
    [(0, 0), (0, 0)],
    rows=1,
    length=9,
    starts=[2, 6],
  )
  np.testing.assert_array_equal(rows.tokens, [[5, 6, 7, 8, 9, 1, 7, 2, 0]])
  np.testing.assert_array_equal(rows.positions, [[0, 1, 2, 3, 4, 5, 2, 3, 0]])
  first = SEGMENTS_PER_PREFIX
  np.testing.assert_array_equal(
    rows.segments, [[first] * 2 + [first + 1] * 4 + [first + 2] * 2 + [0]]
  )


@pytest.mark.parametrize("placement", [[(0, 0), (0, 5)], [(0, 0), (1, 0)]])
def test_a_sequence_beyond_its_row_is_refused(placement):
  with pytest.raises(ValueError, match="1 rows of 6 tokens"):
    fill(placement, 1, 6)


def test_signals_follow_their_tokens_into_packed_rows_and_back():
  values = np.arange(8, dtype=np.float32).reshape(2, 4) + 1
  valid = np.arange(4) < np.array([[3], [1]])
  packed = fill([(0, 2), (0, 0)], 1, 7)
  rows = packed_batch.with_signals(packed, {"advantages": values})
  spread = rows.signals["advantages"]
  np.testing.assert_array_equal(spread[0], [0, 5, 0, 0, 1, 2, 3])
  back = packed_batch.gather(spread, rows, 2, 4)
  np.testing.assert_array_equal(back, np.where(valid, values, 0))


def test_capacity_divides_into_slices_and_shards():
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  assert packed_batch.row_capacity(10, 4, mesh) == 12
  rows = packed_batch.put(fill(packed_batch.one_per_row(2), 4, 6), 2, mesh)
  assert rows.tokens.shape == (2, 2, 6)
