import numpy as np
import pytest

from jaxrl_entropy.analysis import forms

ENTROPY = 0.05 + 0.6 * np.exp(-np.arange(50) / 12)
TRUTHS = {
  "exponential": (0.6, 1.3),
  "linear": (0.8, 0.7),
  "logarithmic": (0.2, 0.1),
  "power": (0.7, 0.7, 2.0),
  "logistic": (0.8, 6.0, 0.5),
}


@pytest.mark.parametrize("form", forms.FORMS, ids=lambda form: form.name)
def test_each_form_recovers_itself_and_wins_on_its_own_data(form):
  truth = TRUTHS[form.name]
  noise = 1e-4 * np.random.default_rng(1).normal(size=len(ENTROPY))
  score = form.curve(ENTROPY, *truth) + noise
  fits = [forms.fit(each, ENTROPY, score) for each in forms.FORMS]
  fits = [fit for fit in fits if fit is not None]
  best = min(fits, key=lambda fit: fit.bic)
  assert best.form.name == form.name
  np.testing.assert_allclose(best.parameters, truth, rtol=0.02)


def test_criteria_are_those_of_a_normal_error():
  score = np.random.default_rng(1).normal(size=len(ENTROPY))
  fit = forms.fit(forms.FORMS[1], ENTROPY, score)
  design = np.stack([-ENTROPY, np.ones_like(ENTROPY)], axis=1)
  rss = np.linalg.lstsq(design, score)[1][0]
  deviance = 50 * np.log(rss / 50)
  assert fit.aic == pytest.approx(deviance + 2 * 3)
  assert fit.bic == pytest.approx(deviance + np.log(50) * 3)


def test_the_true_form_predicts_the_later_half_best():
  noise = 1e-3 * np.random.default_rng(0).normal(size=len(ENTROPY))
  score = 1.3 - 0.6 * np.exp(ENTROPY) + noise
  errors = {f.name: forms.later_error(f, ENTROPY, score) for f in forms.FORMS}
  assert errors["exponential"] < 0.003
  assert errors["linear"] > 2 * errors["exponential"]
  assert errors["logarithmic"] > 10 * errors["exponential"]


def test_more_parameters_than_points_is_no_fit():
  assert forms.fit(forms.FORMS[3], ENTROPY[:3], ENTROPY[:3]) is None
  assert np.isnan(forms.later_error(forms.FORMS[3], ENTROPY[:6], ENTROPY[:6]))


def test_rivals_have_parameters_of_their_own_in_every_run():
  rng = np.random.default_rng(0)
  each = [
    (ENTROPY, offset - 0.6 * np.exp(ENTROPY) + 1e-3 * rng.normal(size=50))
    for offset in (1.3, 1.1)
  ]
  found = {rival.form.name: rival for rival in forms.compare(each)}
  assert found["exponential"].aic == 0
  assert found["exponential"].is_close
  assert not found["linear"].is_close
  linear = [forms.fit(forms.FORMS[1], *run) for run in each]
  best = [forms.fit(forms.FORMS[0], *run) for run in each]
  assert found["linear"].bic == pytest.approx(
    sum(fit.bic for fit in linear) - sum(fit.bic for fit in best)
  )
  assert forms.best_predictor(list(found.values())).form.name == "exponential"
