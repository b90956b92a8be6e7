"""Measures in several units: `2 hours 30 minutes` as `5/2 hours`."""

from fractions import Fraction

from jaxrl_entropy.rewards.verifiers.maths.lexer import Token, Tokens
from jaxrl_entropy.rewards.verifiers.maths.numbers import literal, written
from jaxrl_entropy.rewards.verifiers.maths.units import split_unit

_JOINTS = ("and", ",", "{", "}")


def added(tokens: Tokens) -> Tokens:
  """Returns a sum of measures in the first of their units.

  Args:
    tokens: all of a whole answer; returned as they are unless each number has
      a smaller unit of the same dimension than the one before it.
  """
  measures: list[list[Token]] = []
  for token in tokens:
    if token.value in _JOINTS:
      continue
    if token.kind == "number":
      measures.append([])
    if not measures:
      return tokens
    if token.kind == "symbol":  # `3 h 15 min` is no product
      token = Token("word", token.value)
    measures[-1].append(token)
  if len(measures) < 2 or any(len(measure) < 2 for measure in measures):
    return tokens
  total = Fraction(0)
  sizes: list[Fraction] = []
  first = split_unit(tuple(measures[0]))[1]
  for measure in measures:
    number, unit = split_unit(tuple(measure))
    value = literal(number)
    if not (first and unit and value) or unit.powers != first.powers:
      return tokens
    sizes.append(unit.factor)
    total += value.value * unit.factor / first.factor
  if sizes != sorted(set(sizes), reverse=True):
    return tokens
  return (*written(total), *measures[0][1:])
