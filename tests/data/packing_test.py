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


GROUPS = st.lists(
  st.tuples(st.integers(0, 8), st.lists(st.integers(1, 12), max_size=6)),
  max_size=6,
)


@given(GROUPS)
def test_a_row_has_each_prompt_once_before_its_responses(groups):
  owners = [g for g, (_, sizes) in enumerate(groups) for _ in sizes]
  prompts = [groups[g][0] for g in owners]
  sizes = [size for _, sizes in groups for size in sizes]
  placement, starts = packing.share_prompts(owners, prompts, sizes, 20)
  rows = np.zeros((len(sizes), 20), int)
  homes = {}
  for owner, (row, start), begin, size in zip(
    owners, placement, starts, sizes, strict=True
  ):
    prompt = groups[owner][0]
    assert begin >= start + prompt
    assert homes.setdefault((owner, row), start) == start
    rows[row, begin : begin + size] += 1
  for (owner, row), start in homes.items():
    rows[row, start : start + groups[owner][0]] += 1
  assert rows.max(initial=0) <= 1


def test_a_group_stays_together_as_far_as_there_is_room():
  groups, prompts, sizes = [0, 1, 0, 1], [5, 4, 5, 4], [6, 9, 9, 6]
  placement, starts = packing.share_prompts(groups, prompts, sizes, 20)
  assert placement == [(0, 0), (1, 0), (0, 0), (1, 0)]
  assert starts == [14, 4, 5, 13]


def test_a_prompt_and_response_beyond_a_row_are_refused():
  with pytest.raises(ValueError, match="11 tokens does not fit a row of 10"):
    packing.share_prompts([0, 0], [7, 7], [2, 4], 10)
