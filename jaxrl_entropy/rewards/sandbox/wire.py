"""Python values as JSON, without pickle: safe to read from hostile code."""

from collections.abc import Callable
from typing import Any

_PLAIN = (bool, int, float, str, type(None))
_KINDS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


def encode(value: Any, keep: Callable[[Any], int] | None = None) -> Any:
  """Returns JSON for a value of the plain types and the usual containers.

  A subclass (Counter, namedtuple, IntEnum) is written as the type that it
  extends, and arrays and numbers of NumPy as what their `tolist` returns.

  Args:
    value: of any type.
    keep: for an object of another type, returns the number by which the other
      side may refer to it.

  Raises:
    TypeError: for any other type, without `keep`.
    RecursionError: nested too deeply.
  """
  # The methods of the base types, for a program may have overridden its own.
  if isinstance(value, _PLAIN):
    return value  # which json writes by the base type's methods as well
  if isinstance(value, dict):
    items = dict.items(value)
    return {"dict": [[encode(k, keep), encode(v, keep)] for k, v in items]}
  for name, kind in _KINDS.items():
    if isinstance(value, kind):
      return {name: [encode(item, keep) for item in kind.__iter__(value)]}
  if isinstance(value, complex):
    return {"complex": [value.real, value.imag]}
  if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
    return encode(value.tolist(), keep)
  if keep is not None:
    return {"object": [keep(value)]}
  raise TypeError(f"a value of type {type(value).__name__} cannot be checked")


def decode(data: Any, find: Callable[[int], Any] | None = None) -> Any:
  """Returns the value that `encode` wrote.

  Args:
    data: JSON.
    find: returns the object of a number that `keep` gave.

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
    return {decode(key, find): decode(value, find) for key, value in items}
  if kind == "complex":
    return complex(*items)
  if kind == "object" and find is not None:
    return find(*items)
  if kind not in _KINDS:
    raise ValueError(f"unknown kind of value {kind!r}")
  return _KINDS[kind](decode(item, find) for item in items)
