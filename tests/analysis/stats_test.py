import numpy as np
import pytest
import scipy.stats

from jaxrl_entropy.analysis import stats

VALUES = (0.03, 0.05, 0.01, 0.06, 0.02)


def test_a_p_value_is_that_of_student_s_test():
  expected = scipy.stats.ttest_1samp(VALUES, 0).pvalue
  assert stats.estimate(VALUES).p_value == pytest.approx(expected)
  assert stats.estimate([0.0, 0.0]).p_value == 1
  assert stats.estimate([0.1, 0.1]).p_value == 0


def test_a_detectable_difference_is_found_as_often_as_is_said():
  rng = np.random.default_rng(0)
  spread = 0.7
  # Averaged over draws, the size follows the true spread.
  draws = spread * rng.normal(size=(4000, 5))
  size = np.mean([stats.estimate(each).detectable for each in draws])
  found = [stats.estimate(each + size).sign > 0 for each in draws]
  assert np.mean(found) == pytest.approx(stats.POWER, abs=0.04)


def test_holm_corrects_for_the_number_of_comparisons():
  clear = stats.estimate(np.array(VALUES))
  assert clear.sign == 1
  assert clear.p_value > 0.05 / 6
  noise = stats.estimate([0.1, -0.1, 0.05, -0.04])
  lone = stats.estimate([1.0])
  assert stats.holm([clear, lone]) == [1, 0]
  assert stats.holm([noise, clear, *5 * [noise]]) == 7 * [0]
  sure = stats.estimate([-1.0, -1.01, -0.99, -1.0])
  assert stats.holm([noise, sure, clear]) == [0, -1, 1]


def test_holm_seldom_finds_what_is_not_there():
  rng = np.random.default_rng(1)
  wrong = [
    any(stats.holm([stats.estimate(each) for each in family]))
    for family in rng.normal(size=(500, 6, 5))
  ]
  assert np.mean(wrong) < 0.08
