"""Functions chosen by a config: by a known name, or by import path."""

from collections.abc import Callable, Mapping
import importlib
import inspect
from typing import Any

from jaxrl_entropy.errors import UserError, nearest


def load(
  what: str, name: str, known: Mapping[str, Callable[..., Any] | str]
) -> Callable[..., Any]:
  """Returns the function named in `known`, or at `package.module:function`.

  Args:
    what: what the function is, for messages: "loss".
    name: a name, or an import path.
    known: functions, or their import paths, by name.

  Raises:
    UserError: if there is no such name, or no function at the path.
  """
  target = known.get(name, name)
  if not isinstance(target, str):
    return target
  module, colon, attribute = target.partition(":")
  if not colon:
    raise UserError(
      f"unknown {what} {name!r}: {nearest(name, known)}; or give an import "
      "path such as my_lab.module:mine"
    )
  try:
    function = getattr(importlib.import_module(module), attribute)
  except (ImportError, AttributeError) as error:
    raise UserError(f"cannot load {what} {target!r}: {error}") from error
  # The module is the user's own.
  except Exception as error:
    kind = type(error).__name__
    raise UserError(
      f"cannot load {what} {target!r}: {kind}: {error} (traceback: --debug)"
    ) from error
  if not callable(function):
    raise UserError(f"{what} {target!r} is {function!r}: give a function")
  return function


def call(
  what: str,
  name: str,
  args: Mapping[str, Any] | None,
  known: Mapping[str, Callable[..., Any] | str],
) -> Any:
  """Returns `load(what, name, known)(**args)`.

  Args:
    what: what the function makes, for messages: "loss".
    name: a name in `known`, or an import path.
    args: keyword arguments of the function; None for none.
    known: functions, or their import paths, by name.

  Raises:
    UserError: if there is no such function, if it does not take these
      arguments, or if it raises a ValueError, whose message is kept.
  """
  function = load(what, name, known)
  try:
    return function(**(args or {}))
  # A factory may hand keyword arguments on, so binding them proves nothing.
  except TypeError as error:
    raise UserError(
      f"{what} {name!r} does not take these args: {error}; it is called as "
      f"{name}{_call(function)}"
    ) from error
  except UserError:
    raise
  except ValueError as error:
    raise UserError(f"{what} {name!r}: {error}") from error


def _call(function: Callable[..., Any]) -> str:
  """Returns the parameters of a function with their defaults, untyped."""
  signature = inspect.signature(function)
  bare = [
    parameter.replace(annotation=inspect.Parameter.empty)
    for parameter in signature.parameters.values()
  ]
  return str(inspect.Signature(bare))
