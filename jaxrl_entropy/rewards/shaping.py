"""Additions to a reward for the form of a response, right or wrong."""

from collections.abc import Callable
import re

from jaxrl_entropy.data.tasks.boxed import last_boxed
from jaxrl_entropy.rewards.verifiers.extract import last_code_block, last_tagged

_THINKING = re.compile(r"\s*<think>(?:(?!</?think>).)*</think>\s*\S", re.DOTALL)

FORMATS: dict[str, Callable[[str], bool]] = {
  "boxed": lambda text: last_boxed(text) is not None,
  "code": lambda text: last_code_block(text) is not None,
  "tagged": lambda text: last_tagged(text) is not None,
  # One thinking part in front, and something after it.
  "think": lambda text: (
    _THINKING.match(text) is not None and text.count("<think>") == 1
  ),
}


def format_bonus(name: str, bonus: float) -> Callable[[str], float]:
  """What a response's form adds to its reward: `bonus`, or 0 without it.

  Args:
    name: of the form, in `FORMATS`; "" for no bonus at all.
    bonus: added to the reward.

  Raises:
    ValueError: the form is unknown.
  """
  if not name:
    return lambda text: 0.0
  if name not in FORMATS:
    raise ValueError(
      f"reward.format is {name!r}: choose one of {', '.join(FORMATS)}, or ''"
    )
  has_form = FORMATS[name]
  return lambda text: bonus * has_form(text)
