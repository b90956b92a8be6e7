"""Section: the alarms that training raised."""

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report import wording
from jaxrl_entropy.report.section import Absent, Row, Section, Table

_TITLE = "Alarms"


def build(study: studies.Study) -> Section | Absent:
  """Lists each kind of alarm once per run, with its first and last step."""
  rows: list[Row] = []
  for run in study.runs:
    by_kind: dict[str, list[dict]] = {}
    for alarm in run.alarms:
      by_kind.setdefault(str(alarm.get("alarm")), []).append(dict(alarm))
    for raised in by_kind.values():
      first, last = raised[0], raised[-1]
      steps = wording.value_range([first["step"], last["step"]], "d")
      message, advice = (
        str(last.get(key, "")) for key in ("message", "setting")
      )
      rows.append((run.name, steps, len(raised), message, advice))
  if not rows:
    return Absent(_TITLE, "training raised none")
  runs = len({row[0] for row in rows})
  return Section(
    "alarms",
    _TITLE,
    f"Training raised {wording.plural(len(rows), 'kind')} of alarm in "
    f"{wording.plural(runs, 'run')}. Each is a hint, not a proof of a fault.",
    {},
    Table(("run", "steps", "times", "observed", "setting to try"), rows),
  )
