"""Stop strings: they may begin and end inside a token, so text decides."""

from collections.abc import Callable, Sequence

import numpy as np

Decode = Callable[[Sequence[int]], str]
"""Token ids to text."""


def stop_length(
  tokens: np.ndarray, new: int, strings: Sequence[str], decode: Decode
) -> int | None:
  """How many tokens there are up to the one that completes a stop string.

  Args:
    tokens: of the continuation so far.
    new: how many of them are new; the others held no stop string.
    strings: any of them stops.
    decode: of the tokenizer.

  Returns:
    The shortest such length, or None.
  """

  def stops(length: int) -> bool:
    text = decode(tokens[:length].tolist())
    return any(string in text for string in strings)

  if not strings or not stops(len(tokens)):
    return None
  first = len(tokens) - new + 1
  return next(filter(stops, range(first, len(tokens) + 1)))
