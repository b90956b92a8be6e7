r"""Intersections and differences of sets of real numbers with known bounds.

`x \ge 2, x \ne 5` and `[2, \infty) \setminus \{5\}` are the union of `[2, 5)`
and `(5, \infty)`.
"""

from dataclasses import replace
from fractions import Fraction
from itertools import chain
from math import ceil, floor
from typing import NamedTuple

from jaxrl_entropy.rewards.verifiers.maths.nodes import (
  EMPTY,
  INFINITY,
  MINUS_INFINITY,
  Group,
  Leaf,
  Node,
)
from jaxrl_entropy.rewards.verifiers.maths.numbers import literal, written

MAX_INTEGERS = 100
Bound = tuple[Fraction | float, int]
"""A number, and the side of it: -1 just below, 0 at it, 1 just above it."""


class Span(NamedTuple):
  """An interval that is not empty.

  Attributes:
    low: the bound below which nothing belongs to it.
    high: the bound above which nothing belongs to it.
  """

  low: Bound
  high: Bound


def spans(node: Node) -> list[Span] | None:
  """Returns the intervals of a set; None where a bound is no literal number.

  Args:
    node: an interval, a union of intervals, or a set of points.
  """
  if not isinstance(node, Group):
    return None
  if node.kind in ("set", "union"):
    listed = [
      _point(m) if node.kind == "set" else spans(m) for m in node.members
    ]
    known = [several for several in listed if several is not None]
    united = list(chain.from_iterable(known))
    return united if len(known) == len(listed) else None
  if node.kind not in ("()", "[)", "(]", "[]") or len(node.members) != 2:
    return None
  low, high = map(_size, node.members)
  if low is None or high is None:
    return None
  above, below = int(node.kind[0] == "("), -int(node.kind[1] == ")")
  span = Span((low, above), (high, below))
  return [span] if span.low <= span.high else None


def _point(node: Node) -> list[Span] | None:
  size = _size(node)
  return None if size is None else [Span((size, 0), (size, 0))]


def _size(node: Node) -> Fraction | float | None:
  if node in (INFINITY, MINUS_INFINITY):
    return float("inf" if node == INFINITY else "-inf")
  value = literal(node.tokens) if isinstance(node, Leaf) else None
  return value.value if value else None


def intersection(nodes: list[Group]) -> Group | None:
  """Returns what belongs to all of the sets; None where a bound is unknown.

  Args:
    nodes: two at least; the result has the first one's unknown.
  """
  whole = spans(nodes[0])
  for node in nodes[1:]:
    others = spans(node)
    if whole is None or others is None:
      return None
    overlaps = (
      Span(max(a.low, b.low), min(a.high, b.high))
      for a in whole
      for b in others
    )
    whole = [span for span in overlaps if span.low <= span.high]
  united = _united(whole or [])
  return replace(united, symbol=nodes[0].symbol, inequality=True)


def integers(node: Node) -> Group | None:
  """Returns the set of the integers in an interval; None for many of them."""
  known = spans(node)
  if not known or not all(
    isinstance(bound[0], Fraction) for span in known for bound in span
  ):
    return None
  whole: list[int] = []
  for (low, above), (high, below) in known:
    start, end = ceil(low), floor(high)
    start += above > 0 and start == low
    end -= below < 0 and end == high
    if end - start > MAX_INTEGERS:
      return None
    whole.extend(range(start, end + 1))
  return Group("set", tuple(_leaf(Fraction(n)) for n in whole))


def difference(whole: Node, removed: Node) -> Group | None:
  """Returns a set without another; None where a bound is unknown.

  Args:
    whole: an interval or a union.
    removed: what is taken out.
  """
  left, holes = spans(whole), spans(removed)
  if left is None or holes is None:
    return None
  for hole in holes:
    below = (hole.low[0], hole.low[1] - 1)
    above = (hole.high[0], hole.high[1] + 1)
    left = [
      span
      for old in left
      for span in (
        Span(old.low, min(old.high, below)),
        Span(max(old.low, above), old.high),
      )
      if span.low <= span.high
    ]
  return _united(left)


def united(node: Node) -> list[Span] | None:
  """Returns the intervals of a set in order, none of which touch.

  Args:
    node: as for `spans`.

  Returns:
    None where a bound is no literal number.
  """
  known = spans(node)
  if known is None:
    return None
  out: list[Span] = []
  for span in sorted(known):
    if out and _touch(out[-1].high, span.low):
      last = out.pop()
      span = Span(last.low, max(last.high, span.high))
    out.append(span)
  return out


def _touch(high: Bound, low: Bound) -> bool:
  """Whether no number lies between two bounds."""
  return (low[0], low[1] - 1) <= high


def _united(intervals: list[Span]) -> Group:
  groups = [_group(span) for span in sorted(intervals)]
  if len(groups) == 1:
    return groups[0]
  return Group("union", tuple(groups)) if groups else EMPTY


def _group(span: Span) -> Group:
  (low, above), (high, below) = span
  if low == high:
    return Group("set", (_leaf(low),))
  return Group("(["[not above] + ")]"[not below], (_leaf(low), _leaf(high)))


def _leaf(size: Fraction | float) -> Leaf:
  if isinstance(size, float):
    return INFINITY if size > 0 else MINUS_INFINITY
  return Leaf(written(size))
