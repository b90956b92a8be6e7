"""Rewards by the library math-verify, for figures that others can compare.

Reaches sympy's parser with text that a model wrote: for the sandbox only.
"""

import math_verify

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks.boxed import last_boxed


def verify(problem: Problem, response: str) -> float:
  """Returns 1.0 if math-verify finds the answer in the response, else 0.0.

  The library extracts the answer itself, with its default settings: it
  prefers the last box, and takes other formulas where there is none. The
  sandbox's worker bounds the time.

  Args:
    problem: its answer is LaTeX, which may itself be in a box.
    response: the model's text, from which the library extracts the answer.
  """
  gold = last_boxed(problem.answer) or problem.answer
  wanted = math_verify.parse(rf"\boxed{{{gold}}}", parsing_timeout=None)
  answer = math_verify.parse(response, parsing_timeout=None)
  return float(math_verify.verify(wanted, answer, timeout_seconds=None))


def warm_up() -> None:
  """Fills the parser's tables, once for all the processes forked later."""
  math_verify.parse(r"\boxed{\frac{\sqrt{3}x^2}{2} + 1}", parsing_timeout=None)
