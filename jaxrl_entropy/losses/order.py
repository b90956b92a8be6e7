"""Refuses chains in which a part would have no effect.

Surrogates set the loss, penalties add to it, weights multiply it, and a
surrogate reads the ratio that stands when it runs. In the wrong order a term is
overwritten, or a ratio is read by no one, and the loss trains something else
than it says.
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

from jaxrl_entropy.losses.parts import Part


def check_order(parts: Sequence[Callable[..., Any]]) -> None:
  """Raises if a part of the chain would have no effect.

  Parts of unknown kind may do anything, and are never refused.

  Raises:
    ValueError: names the two parts, and the order that works.
  """
  progress = _Progress()
  _walk(parts, progress)
  if progress.ratio:
    raise ValueError(
      f"no surrogate reads the ratio of {progress.ratio}(): put it before the "
      "surrogate"
    )


@dataclasses.dataclass
class _Progress:
  """The parts of a chain so far.

  Attributes:
    surrogate: the surrogate that has set the loss of all tokens.
    term: the last penalty that was added.
    has_loss: whether there is a loss to multiply.
    ratio: the ratio that no surrogate has read yet.
  """

  surrogate: str = ""
  term: str = ""
  has_loss: bool = False
  ratio: str = ""


def _walk(parts: Sequence[Callable[..., Any]], progress: _Progress) -> None:
  for part in parts:
    if not isinstance(part, Part):
      progress.has_loss, progress.ratio = True, ""
    elif part.selective:
      # Tokens that are not selected keep their loss: it may be set again.
      whole, progress.surrogate = progress.surrogate, ""
      _walk(part.inner, progress)
      progress.surrogate = whole
    elif part.inner:
      _walk(part.inner, progress)
    else:
      _step(part, progress)


def _step(part: Part, progress: _Progress) -> None:
  if part.kind == "ratio":
    if progress.ratio:
      raise ValueError(
        f"{part.name}() replaces the ratio of {progress.ratio}() before any "
        "surrogate reads it: leave one of them out"
      )
    progress.ratio = part.name
  elif part.kind in ("surrogate", "bound"):
    _refuse_loss(part, progress)
    if part.kind == "surrogate":
      progress.surrogate, progress.ratio = part.name, ""
    progress.has_loss = True
  elif part.kind == "weight":
    if not progress.has_loss:
      raise ValueError(
        f"{part.name}() multiplies the loss, and no part before it has set "
        "one: put it after the surrogate"
      )
  elif part.kind == "penalty":
    progress.term, progress.has_loss = part.name, True


def _refuse_loss(part: Part, progress: _Progress) -> None:
  """Raises if a part that sets the loss would overwrite another's."""
  if progress.term:
    raise ValueError(
      f"{part.name}() sets the loss and would discard what {progress.term}() "
      f"has added: put {progress.term}() after it"
    )
  if part.kind == "bound" and not progress.has_loss:
    raise ValueError(
      f"{part.name}() bounds the loss of a surrogate, and none stands before it"
    )
  if part.kind == "surrogate" and progress.surrogate:
    raise ValueError(
      f"{part.name}() sets the loss and would discard that of "
      f"{progress.surrogate}(): leave one out, or restrict it to some tokens "
      f"with masked({part.name}(...), selector)"
    )
