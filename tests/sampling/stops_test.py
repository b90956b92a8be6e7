import numpy as np
import pytest

from jaxrl_entropy.sampling.stops import stop_length


def decode(ids):
  """Tokens of two letters, so that a stop may begin inside one."""
  return "".join(chr(97 + i) + chr(98 + i) for i in ids)


@pytest.mark.parametrize(
  ("strings", "expected"),
  [
    (("ab",), 1),
    (("bb",), 2),  # spans two tokens
    (("de", "bc"), 2),
    (("zz",), None),
    ((), None),
  ],
)
def test_shortest_length_with_a_stop(strings, expected):
  tokens = np.array([0, 1, 2, 3])
  assert stop_length(tokens, 4, strings, decode) == expected


def test_only_new_tokens_are_searched():
  asked = []

  def counting(ids):
    asked.append(len(ids))
    return decode(ids)

  assert stop_length(np.arange(10), 2, ("jk",), counting) == 10
  assert min(asked) == 9
