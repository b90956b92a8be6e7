import numpy as np
import pytest

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import law, runs
from tests.analysis import synthetic


def curve(count=60, noise=0.0, seed=0):
  entropy = 0.05 + 0.5 * np.exp(-np.arange(count) / 12)
  noise = noise * np.random.default_rng(seed).normal(size=count)
  return entropy, 1.3 - 0.6 * np.exp(entropy) + noise


def test_exact_points_give_the_exact_law():
  fitted = law.fit(*curve())
  assert fitted.a == pytest.approx(0.6)
  assert fitted.b == pytest.approx(1.3)
  assert fitted.ceiling == pytest.approx(0.7)
  assert fitted.r2 == pytest.approx(1.0)


def test_law_is_the_paper_formula():
  assert law.Law(0.6, 1.3, 1, 0, 4)(np.log(2.0)) == pytest.approx(0.1)


def test_an_outlier_moves_the_robust_fit_little():
  entropy, score = curve(noise=0.003)
  score[30] -= 0.5
  design = np.stack([-np.exp(entropy), np.ones_like(entropy)], axis=1)
  least_squares = np.linalg.lstsq(design, score)[0]
  robust = law.fit(entropy, score)
  assert abs(robust.ceiling - 0.7) < 0.003
  assert abs(least_squares @ [-1, 1] - 0.7) > 0.007


def correlated(rng, count, rho):
  noise = rng.normal(size=count)
  for i in range(1, count):
    noise[i] = rho * noise[i - 1] + np.sqrt(1 - rho**2) * noise[i]
  return noise


@pytest.mark.parametrize(("count", "rho"), [(17, 0.0), (17, 0.5), (49, 0.3)])
def test_interval_covers_the_truth_about_as_often_as_it_says(count, rho):
  covered = 0
  for seed in range(60):
    rng = np.random.default_rng(seed)
    entropy = 0.13 + 0.36 * np.exp(-3 * np.arange(count) / count)
    score = 1.3 - 0.6 * np.exp(entropy) + 0.02 * correlated(rng, count, rho)
    low, high = law.bootstrap([(entropy, score)], draws=100).ceiling
    covered += low <= 0.7 <= high
  assert covered >= 0.88 * 60


def test_longer_blocks_widen_the_interval_under_correlated_noise():
  entropy, score = curve(200)
  noise = np.random.default_rng(1).normal(size=200)
  score = score + 0.02 * np.convolve(noise, np.ones(20) / 20, "same")
  widths = [
    np.ptp(law.bootstrap([(entropy, score)], block=block, draws=200).ceiling)
    for block in (1, 20)
  ]
  assert widths[1] > 2 * widths[0]


def test_seeds_with_offsets_do_not_tilt_their_law():
  """Two seeds on parallel curves, at different entropies."""
  entropy, score = curve(40)
  runs_of = [(entropy, score), (entropy + 0.3, score)]
  truth = [law.fit(*each) for each in runs_of]
  found = law.fit_runs(runs_of)
  assert found.a == pytest.approx((truth[0].a + truth[1].a) / 2)
  assert found.r2 == pytest.approx(1.0)
  assert found.points == 80
  together = law.fit(*law.pooled(runs_of))
  assert together.a < min(each.a for each in truth)
  low, high = law.bootstrap(runs_of, draws=50).a
  assert low <= found.a <= high


def test_a_few_points_give_no_law_to_report():
  records = [
    {
      "step": step,
      run_files.ENTROPY: 1 / (1 + step),
      run_files.HELD_OUT_ACCURACY: float(step),
    }
    for step in range(0, 28, 4)
  ]
  assert law.of_runs([runs.Run("run", {}, records)]) == []
  records.append(
    {"step": 28, run_files.ENTROPY: 0.01, run_files.HELD_OUT_ACCURACY: 28.0}
  )
  assert len(law.of_runs([runs.Run("run", {}, records)])) == 1


def test_early_points_predict_the_later_ones():
  prediction = law.predict(*curve(noise=0.002), 0.36)
  assert prediction.points == 22
  assert prediction.rmse < 0.01
  assert abs(prediction.final_error) < 0.01


def test_prediction_error_shows_a_break_of_the_law():
  entropy, score = curve()
  score[40:] += 0.1
  prediction = law.predict(entropy, score, 0.36)
  assert prediction.final_error == pytest.approx(-0.1)


@pytest.mark.parametrize("fraction", [0.1, 1.0])
def test_a_prediction_needs_points_to_fit_and_points_to_predict(fraction):
  each = curve(20)
  assert not law.can_predict(each, fraction)
  with pytest.raises(ValueError, match=r"\d+% of 20 points"):
    law.predict(*each, fraction)


@pytest.mark.parametrize("entropy", [[0.1, 0.2], [0.3] * 9])
def test_too_little_to_fit_is_an_error(entropy):
  with pytest.raises(ValueError, match="4 points at different entropies"):
    law.fit(entropy, [0.5] * len(entropy))


def test_windows_average_the_entropy_around_each_evaluation(tmp_path):
  records = [
    {"step": step, run_files.ENTROPY: float(step)}
    | ({run_files.HELD_OUT_ACCURACY: step / 100} if step % 10 == 0 else {})
    for step in range(31)
  ]
  entropy, score = law.points(runs.Run("run", {}, records), window=5)
  np.testing.assert_allclose(entropy, [0.0, 10.0, 20.0, 30.0])
  np.testing.assert_allclose(score, [0.0, 0.1, 0.2, 0.3])


def test_close_evaluations_are_all_used_with_narrower_windows():
  records = [
    {"step": step, run_files.ENTROPY: step**2}
    | ({run_files.HELD_OUT_ACCURACY: 0.0} if step % 4 == 0 else {})
    for step in range(13)
  ]
  entropy, _ = law.points(runs.Run("run", {}, records), window=5)
  around = [step**2 + 2 / 3 for step in (4, 8)]
  np.testing.assert_allclose(entropy, [0, *around, 144])


def test_training_accuracy_serves_where_nothing_is_held_out():
  records = [
    {
      "step": step,
      run_files.ENTROPY: 1.0,
      run_files.TRAIN_ACCURACY: float(step),
    }
    for step in range(10)
  ]
  _, score = law.points(runs.Run("run", {}, records), window=5)
  np.testing.assert_allclose(score, [0.0, 5.0])


def test_synthetic_run_follows_its_law(tmp_path):
  run = runs.load(synthetic.write_run(tmp_path / "grpo"))
  fitted = law.fit(*law.points(run))
  assert fitted.r2 > 0.98
  assert fitted.ceiling == pytest.approx(synthetic.B - synthetic.A, abs=0.02)
