"""Procedural questions in words, answered in a box."""

from collections.abc import Sequence

import numpy as np

from jaxrl_entropy.data.tasks.procedural import Draw, Procedural

BOX = "Put the answer in \\boxed{}."


class Chain(Procedural):
  """A number changed step by step: add, subtract, multiply.

  Difficulty is the number of steps.

  Args:
    steps: how many, from the lowest to the highest.
    largest: of the numbers in a step; factors are at most 9.
  """

  name = "chain"
  verifier = "integer"

  def __init__(
    self, steps: tuple[int, int] = (2, 4), largest: int = 20, **rest: int
  ):
    super().__init__(**rest)
    self._steps, self._largest = _range("steps", steps), largest

  def draw(self, rng: np.random.Generator) -> Draw:
    count = int(rng.integers(self._steps[0], self._steps[1] + 1))
    value = int(rng.integers(1, self._largest + 1))
    sentences = [f"Start with {value}."]
    for kind in rng.integers(3, size=count):
      number = int(rng.integers(2, (self._largest, self._largest, 9)[kind] + 1))
      value = (value + number, value - number, value * number)[kind]
      verb = ("Add", "Subtract", "Multiply by")[kind]
      sentences.append(f"{verb} {number}.")
    question = " ".join(sentences)
    prompt = f"{question} What is the result?\n{BOX}"
    return Draw(question, prompt, str(value), float(count))


class Multiplication(Procedural):
  """A product of two factors, worked out digit by digit.

  Difficulty is the number of partial products.

  Args:
    digits: of the two factors.
  """

  name = "multiplication"
  verifier = "integer"

  def __init__(self, digits: tuple[int, int] = (2, 2), **rest: int):
    super().__init__(**rest)
    if min(digits) < 1:
      raise ValueError(f"digits={digits}: each factor needs one or more")
    self._digits = digits

  def draw(self, rng: np.random.Generator) -> Draw:
    a, b = (int(rng.integers(10 ** (d - 1), 10**d)) for d in self._digits)
    prompt = (
      f"Multiply {a} by {b}. Write down the product of {a} with each digit of "
      f"{b}, then add them up.\n{BOX}"
    )
    key = f"{min(a, b)} x {max(a, b)}"
    return Draw(key, prompt, str(a * b), float(self._digits[1]))


class ModularEquation(Procedural):
  """The least x >= 0 with a x = b (mod m), m prime.

  Difficulty is log2 m.

  Args:
    largest: of the modulus.
  """

  name = "modular_equation"
  verifier = "integer"

  def __init__(self, largest: int = 31, **rest: int):
    super().__init__(**rest)
    self._primes = [
      n for n in range(5, largest + 1) if all(n % d for d in range(2, n))
    ]
    if not self._primes:
      raise ValueError(f"largest={largest}: the least modulus is 5")

  def draw(self, rng: np.random.Generator) -> Draw:
    m = self._primes[rng.integers(len(self._primes))]
    a, x = int(rng.integers(2, m)), int(rng.integers(m))
    question = f"{a}x \\equiv {a * x % m} \\pmod{{{m}}}"
    prompt = f"What is the least x >= 0 with ${question}$?\n{BOX}"
    return Draw(question, prompt, str(x), float(np.log2(m)))


class Sorting(Procedural):
  """Numbers to put in ascending order.

  Difficulty is how many there are.

  Args:
    length: how many, from the lowest to the highest.
    largest: of the numbers.
  """

  name = "sorting"
  verifier = "exact"

  def __init__(
    self, length: tuple[int, int] = (4, 8), largest: int = 99, **rest: int
  ):
    super().__init__(**rest)
    self._length, self._largest = _range("length", length), largest

  def draw(self, rng: np.random.Generator) -> Draw:
    count = int(rng.integers(self._length[0], self._length[1] + 1))
    numbers = rng.integers(self._largest + 1, size=count).tolist()
    prompt = (
      f"Sort in ascending order: {_listed(numbers)}.\n"
      "Put the numbers, with commas between, in \\boxed{}."
    )
    ordered = sorted(numbers)
    return Draw(_listed(ordered), prompt, _listed(ordered), float(count))


def _listed(numbers: Sequence[int]) -> str:
  return ", ".join(map(str, numbers))


def _range(name: str, ends: tuple[int, int]) -> tuple[int, int]:
  low, high = ends
  if not 1 <= low <= high:
    raise ValueError(f"{name}={ends}: give the lowest and the highest")
  return low, high
