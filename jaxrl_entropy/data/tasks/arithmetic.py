"""Sums, differences and products in words, answered in a box."""

import numpy as np

from jaxrl_entropy.data.tasks.procedural import Draw, Procedural


class Arithmetic(Procedural):
  """Sums such as "What is 7 + 5?", `terms` numbers of `digits` digits.

  Difficulty is the number of digits in all.

  Args:
    digits: of each number.
    terms: how many numbers.
    operators: the ones of `+-*` to draw from; `*` binds first.
    instruction: put on a line of its own after the question.
    verifier: "integer" reads the last box, "last_integer" the last integer.
    seed: of the problems.
    **sizes: `train` and `test` of `Procedural`.
  """

  name = "arithmetic"

  def __init__(
    self,
    digits: int = 1,
    terms: int = 2,
    operators: str = "+",
    instruction: str = "Put the answer in \\boxed{}.",
    verifier: str = "integer",
    seed: int = 0,
    **sizes: int,
  ):
    if digits < 1 or terms < 2:
      raise ValueError("arithmetic needs digits >= 1 and terms >= 2")
    if not operators or not set(operators) <= set("+-*"):
      raise ValueError(f"operators={operators!r}: choose from '+-*'")
    super().__init__(seed, **sizes)
    self.verifier = verifier
    self._digits = digits
    self._terms = terms
    self._operators = operators
    self._instruction = instruction

  def draw(self, rng: np.random.Generator) -> Draw:
    low = 10 ** (self._digits - 1) if self._digits > 1 else 0
    numbers = rng.integers(low, 10**self._digits, self._terms).tolist()
    operators = rng.choice(list(self._operators), self._terms - 1).tolist()
    pairs = zip(operators, numbers[1:], strict=True)
    question = f"{numbers[0]}" + "".join(f" {op} {n}" for op, n in pairs)
    return Draw(
      key=question,
      prompt=f"What is {question}?\n{self._instruction}".strip(),
      answer=str(value(numbers, operators)),
      difficulty=float(self._digits * self._terms),
    )


def value(numbers: list[int], operators: list[str]) -> int:
  """Returns the value of `numbers[0] operators[0] numbers[1] ...`.

  Args:
    numbers: the operands, one more than there are operators.
    operators: `+`, `-` or `*`; `*` binds first, the others from left to right.
  """
  total, product = 0, numbers[0]
  for operator, number in zip(operators, numbers[1:], strict=True):
    if operator == "*":
      product *= number
    else:
      total, product = total + product, number * (-1) ** (operator == "-")
  return total + product
