"""Python values as JSON, without pickle: safe to read from hostile code."""

from typing import Any

_PLAIN = (bool, int, float, str, type(None))
_KINDS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


def encode(value: Any) -> Any:
  """JSON for a value built of the plain types and the usual containers.

  Raises:
    TypeError: for any other type.
    RecursionError: nested too deeply.
  """
  if type(value) in _PLAIN:
    return value
  if type(value) is dict:
    items = [[encode(k), encode(v)] for k, v in value.items()]
    return {"dict": items}
  for name, kind in _KINDS.items():
    if type(value) is kind:
      return {name: [encode(item) for item in value]}
  if type(value) is complex:
    return {"complex": [value.real, value.imag]}
  raise TypeError(f"a value of type {type(value).__name__} cannot be checked")


def decode(data: Any) -> Any:
  """The value that `encode` wrote.

  Raises:
    ValueError: this is not what `encode` writes.
    TypeError: an unhashable value in a set, or as a key.
  """
  if type(data) in _PLAIN:
    return data
  if not isinstance(data, dict) or len(data) != 1:
    raise ValueError("malformed value")
  ((kind, items),) = data.items()
  if not isinstance(items, list):
    raise ValueError("malformed value")
  if kind == "dict":
    return {decode(key): decode(value) for key, value in items}
  if kind == "complex":
    return complex(*items)
  if kind not in _KINDS:
    raise ValueError(f"unknown kind of value {kind!r}")
  return _KINDS[kind](decode(item) for item in items)
