"""The structure of an answer: expressions, equations, and groups of answers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jaxrl_entropy.rewards.verifiers.maths.lexer import Token, Tokens


@dataclass(frozen=True)
class Leaf:
  """An expression or a text.

  Attributes:
    tokens: all of it, units and words included.
  """

  tokens: Tokens


@dataclass(frozen=True)
class Group:
  """Several answers.

  Attributes:
    kind: "list", "set" or "union", which have no order; for what has one, its
      brackets or shape, or "mod" for a residue and its modulus.
    members: in the order of the answer.
    symbol: the unknown of an inequality or a membership; empty for others.
    inequality: whether it is written as one.
  """

  kind: str
  members: tuple["Node", ...]
  symbol: str = ""
  inequality: bool = False

  @property
  def ordered(self) -> bool:
    return self.kind not in ("list", "set", "union")


@dataclass(frozen=True)
class Equation:
  """`left = right`.

  Attributes:
    left: an expression, often the unknown alone.
    right: any answer, a group of several included.
  """

  left: Leaf
  right: "Node"


@dataclass(frozen=True)
class Chain:
  """`a = b = c`, of which no side names an unknown.

  Attributes:
    sides: in order, two at least.
  """

  sides: tuple["Node", ...]


@dataclass(frozen=True)
class Approximation:
  r"""`exact \approx rounded`; `exact` is None where only a name precedes it.

  Attributes:
    exact: what is rounded; None where only a name precedes the sign.
    rounded: the number behind the sign.
  """

  exact: "Node | None"
  rounded: "Node"


Node = Leaf | Group | Equation | Chain | Approximation

Reader = Callable[[Tokens], Node]
"""Parses a part of an answer."""

INFINITY = Leaf((Token("command", "infty"),))
MINUS_INFINITY = Leaf((Token("mark", "-"), Token("command", "infty")))
REALS = Group("()", (MINUS_INFINITY, INFINITY))
EMPTY = Group("set", ())


def group(kind: str, members: Iterable[Tokens], read: Reader) -> Group:
  r"""Returns the group of the parsed members.

  In a list or set both numbers of `\pm 1` become members.

  Args:
    kind: as in `Group`.
    members: tokens of each.
    read: parses the tokens of a member.
  """
  nodes = [read(tokens) for tokens in members]
  if kind in ("list", "set"):
    nodes = [member for node in nodes for member in _members(node)]
  return Group(kind, tuple(nodes))


def _members(node: Node) -> Iterable[Node]:
  r"""Returns the two of `\pm 1` in a list or set, else the node itself."""
  if isinstance(node, Group) and node.kind == "list":
    return node.members
  return (node,)
