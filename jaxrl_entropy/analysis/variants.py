"""Variants: runs that differ in their seed alone, and their labels."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
import json
import re
from typing import Any

from jaxrl_entropy.analysis import runs
from jaxrl_entropy.analysis.runs import Run

MAX_LABEL = 24
"""Characters of a variant's label: plots have no room for longer ones."""

# Fields and sections in which the runs of one variant may differ: the seed, and
# settings of measuring, writing and placement.
_NOT_COMPARED = ("seed", "name", "sft.folder")
_SECTIONS_NOT_COMPARED = ("checkpoint.", "eval.", "log.", "mesh.", "probe.")
# Sections without a fixed set of fields: a method sets the ones it needs.
_FREE_SECTIONS = (".args.", ".controllers.")
# Symbols by method and last part of the field. Where the symbol is empty, the
# value alone is clear enough.
_SYMBOLS = {
  ("Clip-Cov", "fraction"): "r",
  ("KL-Cov", "fraction"): "k",
  ("KL-Cov", "coefficient"): "β",
  ("Random tokens", "among"): "",
  ("", "coefficient"): "c",
  ("", "learning_rate"): "lr",
  ("", "target"): "H",
  ("", "name"): "",
  ("", "preset"): "",
}


def by_label(members: Iterable[Run]) -> dict[str, list[Run]]:
  """Groups runs that differ in their seed alone, under a label for each group.

  A label is the method's name and the settings that distinguish this variant
  from others of the method: `Clip-Cov r=0.01`. If such a label would exceed
  `MAX_LABEL`, all variants are labeled by their folders instead.
  """
  members = list(members)
  by_method: dict[str, list[list[Run]]] = {}
  for group in _groups(members):
    by_method.setdefault(group[0].method, []).append(group)
  ordered = sorted(by_method.items(), key=lambda item: _rank(item[0]))
  fields = common_fields(members)
  labeled = [
    (label, group)
    for method, variants in ordered
    for label, group in _label_by_settings(method, variants, fields)
  ]
  if any(len(label) > MAX_LABEL for label, _ in labeled):
    groups = [group for _, group in labeled]
    labeled = list(zip(_folder_labels(groups), groups, strict=True))
  return dict(labeled)


def symbol_of(method: str, field: str) -> str:
  """Returns the paper's letter for a setting, or the setting's own name.

  It is empty for a setting whose value alone is clear enough.

  Args:
    method: name of the algorithm, as `Run.method` gives it.
    field: dotted field of the config, such as `loss.args.fraction`.
  """
  name = field.rsplit(".", 1)[-1]
  default = _SYMBOLS.get(("", name), name)
  return _SYMBOLS.get((method, name), default)


def _groups(members: Iterable[Run]) -> list[list[Run]]:
  """Groups runs that differ in their seed alone."""
  members = list(members)
  fields = common_fields(members)
  groups: dict[tuple[str, str], list[Run]] = {}
  for run in members:
    key = json.dumps(sorted(settings(run, fields).items()), default=str)
    groups.setdefault((run.method, key), []).append(run)
  return list(groups.values())


def _flatten(
  node: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
  for key, value in node.items():
    if isinstance(value, Mapping):
      yield from _flatten(value, f"{prefix}{key}.")
      if {"start", "end"} <= value.keys():  # A schedule.
        yield f"{prefix}{key}", f"{value['start']:g}→{value['end']:g}"
    else:
      yield f"{prefix}{key}", value


def common_fields(members: Iterable[Run]) -> set[str]:
  """Returns the fields that every config has: older versions lack some."""
  names = [{key for key, _ in _flatten(run.config)} for run in members]
  return set.intersection(*names) if names else set()


def settings(run: Run, fields: Set[str]) -> dict[str, Any]:
  """Returns the settings that decide what is trained, and how.

  Args:
    run: the run.
    fields: fields to consider beside those of the free sections.
  """
  return {
    key: value
    for key, value in _flatten(run.config)
    if (key in fields or any(section in key for section in _FREE_SECTIONS))
    and key not in _NOT_COMPARED
    and not key.startswith(_SECTIONS_NOT_COMPARED)
  }


def _rank(method: str) -> tuple[int, str]:
  known = list(runs.METHOD_NAMES.values())
  return (known.index(method) if method in known else len(known), method)


def _label_by_settings(
  method: str, variants: Sequence[list[Run]], fields: Set[str]
) -> Iterator[tuple[str, list[Run]]]:
  """Labels each variant by the settings in which it differs from the others."""
  by_variant = [settings(members[0], fields) for members in variants]
  keys = _distinguishing(by_variant)
  for setting, members in zip(by_variant, variants, strict=True):
    texts = [
      f"{symbol}={setting[key]}"
      if (symbol := symbol_of(method, key))
      else str(setting[key])
      for key in keys
      if key in setting
    ]
    yield " ".join([method, *texts]), members


def _distinguishing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
  """Returns the keys by which settings differ, by name.

  A key that has one value wherever it is set is redundant beside another key
  that is set at the same places and varies, or comes first.
  """
  values: dict[str, dict[int, str]] = {}
  for index, setting in enumerate(settings):
    for key, value in setting.items():
      values.setdefault(key, {})[index] = str(value)
  varied = {
    key: tuple(by_index)
    for key, by_index in values.items()
    if len(set(by_index.values())) > 1
  }
  first: dict[tuple[int, ...], str] = {}
  for key in sorted(values.keys() - varied.keys()):
    places = tuple(values[key])
    if len(places) < len(settings) and places not in varied.values():
      first.setdefault(places, key)
  return sorted((*varied, *first.values()))


_SEED = re.compile(r"[,_-]?seed[=_-]?\d+|[,_.=-]+$")


def _folder_labels(groups: Sequence[Sequence[Run]]) -> list[str]:
  """Labels variants by their folders' names without the seed.

  Long names are cut, and a number distinguishes equal ones.
  """
  labels: list[str] = []
  for members in groups:
    name = _SEED.sub("", members[0].name) or members[0].method
    label, number = _cut(name, MAX_LABEL), 2
    while label in labels:
      mark = f" ({number})"
      label, number = _cut(name, MAX_LABEL - len(mark)) + mark, number + 1
    labels.append(label)
  return labels


def _cut(name: str, length: int) -> str:
  return name if len(name) <= length else f"{name[: length - 1]}…"
