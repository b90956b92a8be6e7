"""Alternatives to the exponential law, fitted to the same points.

The law R = -a exp(H) + b was found by fitting, not derived. Here it is compared
with other forms of two or three parameters, by information criteria on all
points and by the error of predicting later points from earlier ones.
"""

from collections.abc import Callable, Sequence
import dataclasses
import warnings

import numpy as np
from scipy import optimize, special

Array = np.ndarray
Curve = Callable[..., Array]

MIN_AIC_DIFFERENCE = 2
"""Forms whose AIC differs by less are equally supported by the data."""


@dataclasses.dataclass(frozen=True)
class Form:
  """A family of curves R(H).

  Attributes:
    name: name of the family.
    formula: right-hand side of R = ..., for display.
    curve: (H, *parameters) -> R.
    start: (H, R) -> initial parameters of the fit.
  """

  name: str
  formula: str
  curve: Curve
  start: Callable[[Array, Array], tuple[float, ...]]


@dataclasses.dataclass(frozen=True)
class Fit:
  """A member of a family, fitted by least squares.

  Attributes:
    form: the family.
    parameters: the fitted parameters.
    aic: Akaike's criterion, n log(RSS / n) + 2 (parameters + 1).
    bic: Schwarz's criterion, n log(RSS / n) + log(n) (parameters + 1).
  """

  form: Form
  parameters: Array
  aic: float
  bic: float

  def __call__(self, entropy: Array) -> Array:
    return self.form.curve(entropy, *self.parameters)


def _line_through(basis: Callable[[Array], Array]):
  """Returns the initial (a, b) of R = b - a basis(H)."""

  def start(entropy: Array, score: Array) -> tuple[float, ...]:
    slope, offset = np.polyfit(basis(entropy), score, 1)
    return -slope, offset

  return start


FORMS = (
  Form(
    "exponential",
    "b - a exp(H)",
    lambda h, a, b: b - a * np.exp(h),
    _line_through(np.exp),
  ),
  Form(
    "linear",
    "b - a H",
    lambda h, a, b: b - a * h,
    _line_through(lambda h: h),
  ),
  Form(
    "logarithmic",
    "b - a log H",
    lambda h, a, b: b - a * np.log(h),
    _line_through(np.log),
  ),
  Form(
    "power",
    "b - a H^p",
    lambda h, a, b, p: b - a * h**p,
    lambda h, r: (*_line_through(lambda x: x)(h, r), 1.0),
  ),
  Form(
    "logistic",
    "c / (1 + exp(k (H - m)))",
    lambda h, c, k, m: c * special.expit(k * (m - h)),
    lambda h, r: (1.2 * float(r.max()), 2.0, float(h.max())),
  ),
)


def fit(form: Form, entropy: Array, score: Array) -> Fit | None:
  """Fits a family by least squares; returns None if that does not converge.

  Args:
    form: the family.
    entropy: float[n], positive, nats per token.
    score: float[n], performance at the same steps.
  """
  start = form.start(entropy, score)
  count = len(entropy)
  if count <= len(start):
    return None
  with warnings.catch_warnings(), np.errstate(all="ignore"):
    # curve_fit warns where it cannot estimate the parameters' covariance,
    # which is not used here.
    warnings.simplefilter("ignore", optimize.OptimizeWarning)
    try:
      parameters, _ = optimize.curve_fit(
        form.curve, entropy, score, start, maxfev=5000
      )
    except RuntimeError:
      return None
  residuals = score - form.curve(entropy, *parameters)
  deviance = count * np.log(max((residuals**2).mean(), 1e-300))
  free = len(start) + 1  # the variance is estimated too
  return Fit(
    form,
    parameters,
    float(deviance + 2 * free),
    float(deviance + np.log(count) * free),
  )


def later_error(
  form: Form, entropy: Array, score: Array, fraction: float = 0.5
) -> float:
  """Returns the RMSE on later points of a fit to the first `fraction`.

  It is NaN if there is no such fit.

  Args:
    form: family of curves to fit.
    entropy: float[n], positive, nats per token, in the order of training.
    score: float[n], performance at the same steps.
    fraction: share of the points to fit; the rest is predicted.
  """
  early = round(fraction * len(entropy))
  fitted = fit(form, entropy[:early], score[:early])
  if fitted is None:
    return float("nan")
  errors = fitted(entropy[early:]) - score[early:]
  return float(np.sqrt((errors**2).mean()))


@dataclasses.dataclass(frozen=True)
class Rival:
  """A family compared with all others, over several runs.

  Attributes:
    form: the family.
    fits: the fit to each run.
    aic: sum of AIC over the runs, minus that of the best family.
    bic: sum of BIC over the runs, minus that of the best family.
    later_error: mean over the runs of `later_error`.
  """

  form: Form
  fits: Sequence[Fit]
  aic: float
  bic: float
  later_error: float

  @property
  def is_close(self) -> bool:
    """Whether its AIC is indistinguishable from the lowest."""
    return self.aic < MIN_AIC_DIFFERENCE


def compare(points_by_run: Sequence[tuple[Array, Array]]) -> list[Rival]:
  """Compares all families that could be fitted to every run.

  Each run has parameters of its own, because a common curve would count the
  offsets between seeds as errors.

  Args:
    points_by_run: (H, R) of each run.
  """
  fits = {
    form: fitted
    for form in FORMS
    if len(fitted := [f for run in points_by_run if (f := fit(form, *run))])
    == len(points_by_run)
  }
  aic = {form: sum(one.aic for one in fitted) for form, fitted in fits.items()}
  bic = {form: sum(one.bic for one in fitted) for form, fitted in fits.items()}
  return [
    Rival(
      form,
      fitted,
      aic[form] - min(aic.values()),
      bic[form] - min(bic.values()),
      float(np.mean([later_error(form, *run) for run in points_by_run])),
    )
    for form, fitted in fits.items()
  ]


def best_predictor(rivals: Sequence[Rival]) -> Rival | None:
  """Returns the rival with the least later error; None if none has one."""
  known = [one for one in rivals if np.isfinite(one.later_error)]
  return min(known, key=lambda one: one.later_error, default=None)
