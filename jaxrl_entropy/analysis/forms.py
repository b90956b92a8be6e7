"""Other curves through the same points: is the exponential form special?

The law R = -a exp(H) + b was found by fitting, not derived, so it is held
against forms as simple: by information criteria on all points, and by the error
on later points of a fit on the earlier ones.
"""

from collections.abc import Callable, Sequence
import dataclasses
import warnings

import numpy as np
from scipy import optimize, special

Array = np.ndarray
Curve = Callable[..., Array]

# A difference of AIC below this distinguishes nothing.
DISTINCT = 2


@dataclasses.dataclass(frozen=True)
class Form:
  """A family of curves R(H).

  Attributes:
    name: of the family.
    formula: for the reader.
    curve: (H, *parameters) -> R.
    start: (H, R) -> initial parameters, as many as the family has.
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
    parameters: of the member.
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
  """Start values (a, b) of R = b - a basis(H)."""

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
  """The least-squares member of a family; None where it is not found.

  Args:
    form: the family.
    entropy: float[n], positive, nats a token.
    score: float[n].
  """
  start = form.start(entropy, score)
  count = len(entropy)
  if count <= len(start):
    return None
  with warnings.catch_warnings(), np.errstate(all="ignore"):
    # Only the parameters are used, not their covariance.
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
  """RMSE on the later points of a fit on the first `fraction`; NaN if none."""
  early = round(fraction * len(entropy))
  fitted = fit(form, entropy[:early], score[:early])
  if fitted is None:
    return float("nan")
  errors = fitted(entropy[early:]) - score[early:]
  return float(np.sqrt((errors**2).mean()))


@dataclasses.dataclass(frozen=True)
class Rival:
  """A family's standing among all, over several runs.

  Attributes:
    form: the family.
    fits: its member for each run.
    aic: the runs' sum, over that of the family with the lowest.
    bic: likewise.
    later_error: the runs' mean `later_error`.
  """

  form: Form
  fits: Sequence[Fit]
  aic: float
  bic: float
  later_error: float

  @property
  def is_close(self) -> bool:
    """Whether its AIC does not tell it from the lowest."""
    return self.aic < DISTINCT


def compare(each: Sequence[tuple[Array, Array]]) -> list[Rival]:
  """All families that have a member for every run, held against each other.

  Every run has parameters of its own: seeds have offsets, which a common curve
  would count as its errors.

  Args:
    each: (H, R) of a run.
  """
  fits = {
    form: found
    for form in FORMS
    if len(found := [f for run in each if (f := fit(form, *run))]) == len(each)
  }
  aic = {form: sum(one.aic for one in found) for form, found in fits.items()}
  bic = {form: sum(one.bic for one in found) for form, found in fits.items()}
  return [
    Rival(
      form,
      found,
      aic[form] - min(aic.values()),
      bic[form] - min(bic.values()),
      float(np.mean([later_error(form, *run) for run in each])),
    )
    for form, found in fits.items()
  ]


def surest(rivals: Sequence[Rival]) -> Rival | None:
  """The one with the least later error; None where none has one."""
  known = [one for one in rivals if np.isfinite(one.later_error)]
  return min(known, key=lambda one: one.later_error, default=None)
