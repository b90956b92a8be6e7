from hypothesis import given, strategies as st
import numpy as np
import pytest

from jaxrl_entropy.data import packing

LENGTHS = st.lists(st.integers(1, 20), max_size=40)


@given(LENGTHS)
def test_sequences_neither_overlap_nor_leave_their_row(lengths):
  rows = np.zeros((len(lengths), 20), int)
  for length, (row, start) in zip(
    lengths, packing.first_fit(lengths, 20), strict=True
  ):
    assert start + length <= 20
    rows[row, start : start + length] += 1
  assert rows.max(initial=0) <= 1
  assert rows.sum() == sum(lengths)


@given(LENGTHS)
def test_uses_few_rows_and_leaves_none_empty(lengths):
  used = {row for row, _ in packing.first_fit(lengths, 20)}
  assert used == set(range(len(used)))
  fewest = -(-sum(lengths) // 20)
  assert len(used) <= max(2 * fewest - 1, fewest)


def test_longest_first():
  placement = packing.first_fit([3, 7, 2, 5], 10)
  assert placement == [(0, 7), (0, 0), (1, 5), (1, 0)]


def test_refuses_what_does_not_fit():
  with pytest.raises(ValueError, match="11 tokens does not fit a row of 10"):
    packing.first_fit([3, 11], 10)
