"""Checks references before training: can any answer equal them?"""

from collections.abc import Callable

from jaxrl_entropy.rewards.verifiers import exact, integer, math_answer

_GRADABLE: dict[str, Callable[[str], str | None]] = {
  "math": math_answer.gradable,
  "math_equal": math_answer.gradable,
  "math_verify": math_answer.gradable,
  "integer": integer.gradable,
  "last_integer": integer.gradable,
  "exact": exact.gradable,
  "tagged": exact.gradable,
}


def gradable(verifier: str, reference: str) -> str | None:
  """Returns why no answer can equal a reference; None where one can.

  Evaluates nothing and takes some ten microseconds, so that data loading can
  check every row. Verifiers that compare no reference grade anything.

  Args:
    verifier: name of a verifier.
    reference: the answer of a problem.
  """
  check = _GRADABLE.get(verifier)
  return check(reference) if check else None
