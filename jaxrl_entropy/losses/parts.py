"""Declarations of the effect that a part has on the loss.

A factory of parts is decorated with the kind of its parts. The kind lets a
chain refuse an order in which a term would be lost; the name stands in error
messages. A plain function is a part too: nothing is known of it, and nothing is
refused.
"""

from collections.abc import Callable
import dataclasses
import functools
import inspect
from typing import Any, Literal, ParamSpec, cast, get_args

import jax

from jaxrl_entropy import arguments
from jaxrl_entropy.losses.base import PRNGKey, Selection, Selector, TokenLoss
from jaxrl_entropy.losses.fields import MissingFieldError
from jaxrl_entropy.types import TokenBatch

Kind = Literal[
  "ratio",  # sets the ratio that a surrogate reads
  "surrogate",  # sets the loss
  "bound",  # replaces the loss that a surrogate has set, on some tokens
  "weight",  # multiplies the loss
  "penalty",  # adds to the loss
  "metric",  # changes no loss
  "selector",  # picks tokens
  "aggregate",  # reduces the loss to one number
]
Arguments = ParamSpec("Arguments")


@dataclasses.dataclass(frozen=True)
class Part:
  """A function with a name and a kind.

  Attributes:
    function: the function itself.
    kind: what it does to the loss.
    name: name of the factory that made it.
    inner: the parts that it is made of, in order.
    selective: whether those act on some tokens only.
  """

  function: Callable[..., Any]
  kind: Kind
  name: str
  inner: tuple[Callable[..., Any], ...] = ()
  selective: bool = False

  def __call__(self, *args: Any) -> Any:
    return self.function(*args)


def part(
  kind: Kind | str,
) -> Callable[[Callable[Arguments, Any]], Callable[Arguments, Part]]:
  """Declares the kind of the parts that a factory makes.

      @losses.part("weight")
      def scale(factor):
        def update(loss, batch, key):
          return loss.replace(loss=factor * loss.loss)
        return update

  Args:
    kind: "ratio", "surrogate", "bound", "weight", "penalty", "metric",
      "selector" or "aggregate", see `Kind`.

  Returns:
    A decorator of factories.

  Raises:
    ValueError: for an unknown kind.
  """
  arguments.one_of("part", get_args(Kind), kind=kind)
  known = cast(Kind, kind)

  def declare(
    factory: Callable[Arguments, Any],
  ) -> Callable[Arguments, Part]:
    @functools.wraps(factory)
    def make(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Part:
      return Part(factory(*args, **kwargs), known, factory.__name__)

    make.makes = kind  # type: ignore[attr-defined]
    return make

  return declare


def name_of(function: Callable[..., Any]) -> str:
  """Returns the name of a part: that of the function that made it."""
  if isinstance(function, Part):
    return function.name
  name = getattr(function, "__qualname__", type(function).__name__)
  return name.split(".<locals>")[0]


def call(function: Callable[..., Any], *args: Any) -> Any:
  """Calls a part; an absent field of the batch is blamed on it by name.

  Args:
    function: a part, or any callable in place of one.
    *args: what it takes: a transform or a selector (loss, batch, key).

  Returns:
    What the part returns.

  Raises:
    MissingFieldError: if the part reads a field that the batch does not have.
  """
  try:
    return function(*args)
  except MissingFieldError as missing:
    owner = missing.owner or name_of(function)
    raise MissingFieldError(missing.field, owner) from None


def pick(
  selector: Selector, loss: TokenLoss, batch: TokenBatch, key: PRNGKey
) -> Selection:
  """Calls a selector; padding is never picked, and there is no gradient.

  Args:
    selector: the selector to call.
    loss: token losses so far; the selector sees them as constants.
    batch: tokens of the mini-batch.
    key: for selectors that draw at random.

  Returns:
    The choice, False at padding, with the selector's own metrics.

  Raises:
    MissingFieldError: if it reads a field that the batch does not have.
  """
  picked = call(selector, jax.lax.stop_gradient(loss), batch, key)
  if not isinstance(picked, Selection):
    picked = Selection(picked)
  return picked.replace(chosen=picked.chosen & batch.mask)


def check(function: Any, role: str, parameters: int) -> None:
  """Raises unless a function can stand for a part of a chain.

  Args:
    function: what stands for the part.
    role: "transform", "selector" or "aggregate".
    parameters: how many arguments the part is called with.

  Raises:
    ValueError: for a factory that was not called, a part of another role, or a
      function that does not take the arguments.
  """
  name = name_of(function) if callable(function) else repr(function)
  if hasattr(function, "makes"):
    raise ValueError(f"{name} was not called: write {name}(...)")
  if not callable(function):
    raise ValueError(f"{name} is no {role}: pass a function")
  if isinstance(function, Part):
    actual: str = function.kind
    if actual not in ("selector", "aggregate"):
      actual = "transform"
    if actual != role:
      raise ValueError(f"{name}(...) is no {role}: it is of kind {actual!r}")
  elif not _takes(function, parameters):
    raise ValueError(
      f"{name}{inspect.signature(function)} cannot be a {role}, which takes "
      f"{parameters} arguments: if it makes one, call it"
    )


def _takes(function: Callable[..., Any], count: int) -> bool:
  try:
    inspect.signature(function).bind(*range(count))
  except TypeError:
    return False
  except ValueError:  # no signature is known, as of some built-in functions
    return True
  return True
