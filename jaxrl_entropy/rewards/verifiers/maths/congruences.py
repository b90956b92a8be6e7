r"""Residue classes: `3 \pmod 7`, `7k + 3`."""

from fractions import Fraction
import re

from jaxrl_entropy.rewards.verifiers.maths.nodes import Group, Leaf, Node
from jaxrl_entropy.rewards.verifiers.maths.numbers import written

_PROGRESSION = re.compile(
  r"(?:(?P<first>\d+) \+ )?(?P<size>\d+) [a-z](?: (?P<rest>[+-] \d+))?"
)


def as_class(node: Node, other: Node) -> Node:
  r"""Returns `7k + 3` as `3 \pmod 7` where the other answer is such a class.

  Args:
    node: an answer.
    other: that with which it is compared.
  """
  if not isinstance(other, Group) or other.kind != "mod":
    return node
  if not isinstance(node, Leaf):
    return node
  text = " ".join(token.value for token in node.tokens)
  terms = _PROGRESSION.fullmatch(text)
  if terms is None or (terms["first"] and terms["rest"]):
    return node
  residue = (terms["first"] or terms["rest"] or "0").replace(" ", "")
  members = (Leaf(written(Fraction(n))) for n in (residue, terms["size"]))
  return Group("mod", tuple(members), other.symbol)
