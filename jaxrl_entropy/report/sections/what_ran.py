"""Section: task, model, length, date and commit of the runs."""

from collections.abc import Callable
import datetime
import pathlib

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import runs, studies
from jaxrl_entropy.report import wording
from jaxrl_entropy.report.section import Section, without_empty


def build(study: studies.Study) -> Section:
  """Lists the facts of every variant; shared ones are in the sentence."""
  facts = {
    name: {label: fact(m[0]) for label, m in study.variants.items()}
    for name, fact in _FACTS.items()
  }
  shared = {
    name: next(iter(values.values()))
    for name, values in facts.items()
    if len(set(values.values())) == 1
  }
  if all(label.startswith(m[0].method) for label, m in study.variants.items()):
    del facts["method"]
  columns = [name for name in facts if name not in shared]
  rows = [
    (label, len(members), *(facts[name][label] for name in columns))
    for label, members in study.variants.items()
  ]
  return Section(
    "runs",
    "What ran",
    _sentence(study, {k: v for k, v in shared.items() if v is not None}),
    {},
    without_empty(("variant", "runs", *columns), rows),
  )


def _sentence(study: studies.Study, shared: dict[str, object]) -> str:
  text = (
    f"{wording.capitalized(wording.plural(len(study.runs), 'run'))} in "
    f"{wording.plural(len(study.variants), 'variant')}"
  )
  if not shared:
    return f"{text}."
  facts = [f"{name} {value}" for name, value in shared.items()]
  return f"{text}; common to all: {', '.join(facts)}."


def _model(run: runs.Run) -> str | None:
  weights = run.setting("model.weights")
  if weights:
    return pathlib.PurePath(str(weights)).name
  return run.setting("model.preset")


def _date(run: runs.Run) -> str | None:
  times = run.series(run_files.TIME).values
  if not len(times):
    return None
  try:
    start = datetime.datetime.fromtimestamp(times[0], datetime.UTC)
  except (OverflowError, OSError, ValueError):
    return None  # No time that a clock could have shown.
  return str(start.date())


def _commit(run: runs.Run) -> str | None:
  return str(run.commit)[:8] if run.commit else None


_FACTS: dict[str, Callable[[runs.Run], str | int | None]] = {
  "method": lambda run: run.method,
  "task": lambda run: run.setting("task.name"),
  "model": _model,
  "steps": lambda run: run.steps,
  "date": _date,
  "commit": _commit,
}
