"""Checks references before training: can any answer equal them?"""

from collections.abc import Callable, Iterable, Sequence
import warnings

from jaxrl_entropy.data.table import brief
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards.verifiers import exact, integer, math_answer
from jaxrl_entropy.text import printable

SHOWN = 5
CHECKED = 50_000

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


def unmatched(problems: Iterable[Problem]) -> list[tuple[Problem, str]]:
  """Returns the problems whose reference no answer can equal, and why."""
  checked = ((p, gradable(p.verifier, p.answer)) for p in problems)
  return [(problem, reason) for problem, reason in checked if reason]


def report(problems: Sequence[Problem], split: str) -> None:
  """Warns of references that no answer can equal.

  Args:
    problems: of which at most `CHECKED`, at equal distances, are checked.
    split: their name in messages.

  Raises:
    ValueError: more than half are of this kind, so that training would see
      next to no reward.
  """
  step = -(-len(problems) // CHECKED) or 1
  checked = range(0, len(problems), step)
  faults = unmatched(brief(problems, i) for i in checked)
  if not faults:
    return
  shown = "\n".join(
    f"{problem.id}: {printable(problem.answer):.60}: {reason}"
    for problem, reason in faults[:SHOWN]
  )
  message = (
    f"{len(faults)} of {len(checked)} {split} problems have a reference that "
    f"only its own text can equal:\n{shown}"
  )
  if len(faults) > len(checked) / 2:
    raise ValueError(
      f"{message}\nMend the answers, or choose a verifier and a format for them"
    )
  warnings.warn(message, stacklevel=2)
