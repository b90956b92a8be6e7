"""Selectors by a condition, against NumPy."""

import numpy as np
import pytest

from jaxrl_entropy import losses
from tests.losses import batches
from tests.losses.selectors_test import pick


def test_complement_is_the_rest_of_the_valid():
  high, _ = pick(losses.top_entropy(0.2))
  rest, _ = pick(losses.complement(losses.top_entropy(0.2)))
  np.testing.assert_array_equal(high ^ rest, batches.make().mask)


def test_all_of_is_the_intersection():
  batch = batches.make()
  high, _ = pick(losses.top_entropy(0.5), batch)
  both, _ = pick(
    losses.all_of(losses.top_entropy(0.5), losses.correct_responses()), batch
  )
  np.testing.assert_array_equal(both, high & (batch.correct > 0))
  with pytest.raises(ValueError, match="at least one selector"):
    losses.all_of()


def test_facts_of_a_response_select_all_its_tokens():
  batch = batches.make()
  for rule, expected in (
    (losses.correct_responses(), batch.correct > 0),
    (losses.hard_groups(0.6), batch.group_accuracy < 0.6),
    (losses.mastered_groups(), batch.group_accuracy == 1),
  ):
    chosen, _ = pick(rule, batch)
    assert chosen.any()
    np.testing.assert_array_equal(chosen, expected & batch.mask)


def test_tokens_are_told_apart_by_advantage_and_by_probability():
  batch = batches.make()
  for rule, expected in (
    (losses.rewarded_tokens(), batch.advantages > 0),
    (losses.likely_tokens(0.3), np.exp(batch.logp) >= 0.3),
  ):
    chosen, _ = pick(rule, batch)
    assert 0 < chosen.sum() < batch.mask.sum()
    np.testing.assert_array_equal(chosen, expected & batch.mask)


def test_drifted_responses_are_unlikely_and_bad():
  batch = batches.make()
  chosen, _ = pick(losses.drifted_responses(0.05), batch)
  for row in range(batches.RESPONSES):
    valid = batch.mask[row]
    drift = (batch.old_logp - batch.logp)[row][valid].mean()
    expected = drift > 0.05 and batch.advantages[row, 0] < 0
    assert (chosen[row][valid] == expected).all()


def test_erc_picks_tokens_whose_entropy_left_its_band():
  batch = batches.make()
  chosen, _ = pick(losses.entropy_ratio_outside(0.3, 0.2), batch)
  ratio = np.maximum(batch.entropy, 1e-3) / np.maximum(batch.old_entropy, 1e-3)
  outside = (ratio < 0.7) | (ratio > 1.2)
  np.testing.assert_array_equal(chosen, outside & batch.mask)
  assert 0 < chosen.sum() < batch.mask.sum()


def test_entropies_near_zero_are_no_ratio():
  batch = batches.make()
  tiny = np.full_like(batch.entropy, 1e-6)
  batch = batch.replace(entropy=tiny, old_entropy=10 * tiny)
  assert not pick(losses.entropy_ratio_outside(0.1, 0.1), batch)[0].any()
