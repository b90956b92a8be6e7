"""Section: the settings in which the variants of a study differ."""

from typing import Any

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report import wording
from jaxrl_entropy.report.section import Absent, Section, Table

_TITLE = "Settings that differ"
_MAX_IN_SENTENCE = 4
_MAX_VALUE = 32  # characters


def build(study: studies.Study) -> Section | Absent:
  """Tabulates the differing settings, one row each."""
  settings = study.differing_settings
  if not settings:
    return Absent(_TITLE, "no two configurations differ beyond their seed")
  labels = list(study.variants)
  names = list(settings)
  listed = names[:_MAX_IN_SENTENCE]
  if rest := len(names) - len(listed):
    listed.append(f"{rest} more")
  rows = [
    (name, *(_text(values.get(label)) for label in labels))
    for name, values in settings.items()
  ]
  return Section(
    "settings",
    _TITLE,
    f"The variants differ in {wording.listing(listed)}.",
    {},
    Table(("setting", *labels), rows),
  )


def _text(value: Any) -> str | None:
  if value is None:
    return None
  text = f"{value:g}" if isinstance(value, float) else str(value)
  return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 1]}…"
