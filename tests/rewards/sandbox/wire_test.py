"""Values that are sent between the model's process and its judge."""

from collections import Counter, OrderedDict, defaultdict, namedtuple
from enum import Enum, IntEnum
import json

from hypothesis import given, strategies as st
import numpy as np
import pytest

from jaxrl_entropy.rewards.sandbox import wire

SCALARS = (
  st.none()
  | st.booleans()
  | st.integers()
  | st.floats(allow_nan=False)
  | st.text()
  | st.complex_numbers(allow_nan=False)
)
VALUES = st.recursive(
  SCALARS,
  lambda inner: (
    st.lists(inner)
    | st.lists(inner).map(tuple)
    | st.dictionaries(SCALARS, inner)
    | st.frozensets(SCALARS)
    | st.sets(SCALARS)
  ),
)


@given(VALUES)
def test_values_survive_json(value):
  back = wire.decode(json.loads(json.dumps(wire.encode(value))))
  assert back == value
  assert type(back) is type(value)


class Liar(int):
  """Claims to be another number."""

  def __eq__(self, other):
    return True

  def __repr__(self):
    return "5"

  __str__ = __repr__
  __hash__ = int.__hash__


Pair = namedtuple("Pair", "a b")
Color = IntEnum("Color", "RED BLUE")
Name = Enum("Name", {"RED": "red"}, type=str)


@pytest.mark.parametrize(
  ("value", "plain"),
  [
    (Counter("aab"), {"a": 2, "b": 1}),
    (OrderedDict(a=1), {"a": 1}),
    (defaultdict(list, {1: [2]}), {1: [2]}),
    (Pair(1, [2]), (1, [2])),
    (Color.BLUE, 2),
    ([Name.RED], ["red"]),
    (Liar(4), 4),
    (np.int64(3), 3),
    (np.array([[1.5]]), [[1.5]]),
  ],
)
def test_subclasses_are_sent_as_the_types_they_extend(value, plain):
  back = wire.decode(json.loads(json.dumps(wire.encode(value))))
  assert back == plain
  assert type(back) is type(plain)


def test_objects_are_sent_by_number():
  kept = []
  sent = wire.encode([kept], lambda v: kept.append(v) or 0)
  assert sent == {"list": [{"list": []}]}
  sent = wire.encode([len], lambda v: kept.append(v) or 0)
  assert kept == [len]
  assert wire.decode(sent, kept.__getitem__) == [len]
  with pytest.raises(ValueError, match="object"):
    wire.decode(sent)


class Impostor:
  """Has the class of an integer, as far as `isinstance` knows."""

  __class__ = int


def test_impostors_are_not_written():
  with pytest.raises(TypeError):
    json.dumps(wire.encode(Impostor()))


@pytest.mark.parametrize("value", [object(), len, Name, range(3)])
def test_other_types_are_refused(value):
  with pytest.raises(TypeError):
    wire.encode(value)


@pytest.mark.parametrize(
  "data", [[1], {"list": 1}, {"a": [], "b": []}, {"object": []}, {"dict": [1]}]
)
def test_malformed_data_is_refused(data):
  with pytest.raises((ValueError, TypeError)):
    wire.decode(data)
