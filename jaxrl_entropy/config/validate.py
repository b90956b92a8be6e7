"""Field checks and typed overrides of a config."""

import ast
from collections.abc import Iterable, Iterator
from typing import Any

from ml_collections import ConfigDict

from jaxrl_entropy.config import defaults
from jaxrl_entropy.errors import UserError, nearest


def override(config: ConfigDict, field: str, text: str) -> None:
  """Sets the dotted `field` to `text`, read by the type of the field.

  Raises:
    UserError: naming the nearest valid field, or the expected type and the
      value that was given.
  """
  *sections, name = field.split(".")
  node, known, is_open = config, defaults.get_config(), False
  for section in sections:
    node = _section(node, section, field)
    if not is_open:
      known = known[section]
      is_open = not known.is_type_safe
  if name not in node:
    if not is_open:
      raise _unknown(field, name, node)
    with node.unlocked():
      node[name] = _literal(text)
  elif isinstance(node[name], ConfigDict):
    some = next(iter(node[name]), "FIELD")
    raise UserError(f"config.{field} is a section: set config.{field}.{some}")
  else:
    old = node[name]
    parse = _parse_open if is_open else _parse
    node[name] = parse(text, old, field)


def _section(node: ConfigDict, name: str, field: str) -> ConfigDict:
  if name not in node:
    raise _unknown(field, name, node)
  if not isinstance(node[name], ConfigDict):
    raise UserError(f"config.{field}: {name!r} is a value, not a section")
  return node[name]


def _unknown(field: str, name: str, valid: Iterable[str]) -> UserError:
  return UserError(
    f"config.{field}: there is no field {name!r}; {nearest(name, valid)}"
  )


def check_fields(config: ConfigDict, path: str) -> None:
  for field, valid in _unknown_fields(config, defaults.get_config(), ""):
    error = _unknown(field, field.rpartition(".")[2], valid)
    raise UserError(f"{path}: {error}")


def _unknown_fields(
  config: ConfigDict, known: ConfigDict, prefix: str
) -> Iterator[tuple[str, Iterable[str]]]:
  for name, value in config.items():
    if name not in known:
      yield prefix + name, known
    elif isinstance(known[name], ConfigDict) and known[name].is_type_safe:
      yield from _unknown_fields(value, known[name], f"{prefix}{name}.")


def _literal(text: str) -> Any:
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


def _parse_open(text: str, old: Any, field: str) -> Any:
  """Any literal, but a number where there is one."""
  value, number = _literal(text), int | float
  if isinstance(old, number) and not isinstance(value, number):
    raise UserError(
      f"config.{field}: expected a number (now {old!r}), got {text!r}"
    )
  return value


_WORDS = {"true": True, "1": True, "false": False, "0": False}


def _parse(text: str, old: Any, field: str) -> Any:
  kind = type(old)
  try:
    if kind is bool:
      return _WORDS[text.lower()]
    if kind is tuple:
      return _parse_tuple(text, old)
    return kind(text)
  except (KeyError, ValueError):
    raise UserError(
      f"config.{field}: expected {kind.__name__} (now {old!r}), got {text!r}"
    ) from None


def _parse_tuple(text: str, old: tuple[Any, ...]) -> tuple[Any, ...]:
  """`a,b` or `("a", "b")`; elements get the type of the first one of `old`."""
  value = _literal(text)
  if isinstance(value, str):
    value = [item.strip() for item in value.split(",") if item.strip()]
  items = value if isinstance(value, list | tuple) else (value,)
  kind = type(old[0]) if old else (lambda item: item)
  return tuple(kind(item) for item in items)
