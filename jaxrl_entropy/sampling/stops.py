"""Stop strings, which may begin and end inside a token."""

from collections.abc import Callable, Sequence

import numpy as np

Decode = Callable[[Sequence[int]], str]
"""A function from token ids to text."""


def stop_length(
  tokens: np.ndarray, new: int, strings: Sequence[str], decode: Decode
) -> int | None:
  """Finds the length at which the first stop string is complete.

  Args:
    tokens: the continuation so far.
    new: number of tokens at its end that have not been searched yet.
    strings: stop strings.
    decode: the tokenizer's function from ids to text.

  Returns:
    The smallest number of tokens whose text contains a stop string, or None.
  """

  def stops(length: int) -> bool:
    text = decode(tokens[:length].tolist())
    return any(string in text for string in strings)

  if not strings or not stops(len(tokens)):
    return None
  first = len(tokens) - new + 1
  return next(filter(stops, range(first, len(tokens) + 1)))
