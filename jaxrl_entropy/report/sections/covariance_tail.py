"""Section: mean covariance of the tokens with the highest covariance."""

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, studies
from jaxrl_entropy.report import panels, plots
from jaxrl_entropy.report.measures import covariance_means
from jaxrl_entropy.report.section import Absent, Section, Table, no_metric

_TITLE = "The tail of the covariance"


def build(study: studies.Study) -> Section | Absent:
  """Shows mean covariance by share of tokens."""
  keys = {f"top_{p}pct_mean": f"{p}%" for p in dynamics.TAIL_PERCENTS}
  # A policy that was never rewarded has covariance 0, which a logarithmic axis
  # cannot show.
  means = {
    label: values
    for label, values in covariance_means(study, list(keys)).items()
    if all(values)
  }
  if not means:
    names = [run_files.COVARIANCE + key for key in keys]
    return Absent(_TITLE, f"{no_metric(names[0])}, or no reward ever varied")
  label, first = next(iter(means.items()))
  top, half = first[0], first[-1]
  sentence = (
    f"The {keys[f'top_{dynamics.TAIL_PERCENTS[0]}pct_mean']} of {label}'s "
    f"tokens with the highest covariance have a mean of {top:.3g} nats, "
    f"{top / half:.0f} times that of the top half ({half:.3g})."
  )
  shown = panels.representatives(study, means)
  panel = plots.bars(
    "Mean covariance (nats)",
    list(keys.values()),
    shown,
    panels.palette(study),
    x_label="tokens with the highest covariance",
    logarithmic=True,
  )
  return Section(
    "tail",
    _TITLE,
    sentence,
    {"tail": panel},
    Table(
      ("variant", *(f"top {name}" for name in keys.values())),
      [(k, *values) for k, values in means.items()],
    ),
  )
