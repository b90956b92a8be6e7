"""Values that cross between the model's process and its judge."""

import json

from hypothesis import given, strategies as st
import pytest

from jaxrl_entropy.rewards import wire

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


@pytest.mark.parametrize("value", [object(), len, type("Int", (int,), {})(3)])
def test_other_types_are_refused(value):
  with pytest.raises(TypeError):
    wire.encode(value)


@pytest.mark.parametrize(
  "data", [[1], {"list": 1}, {"a": [], "b": []}, {"object": []}, {"dict": [1]}]
)
def test_malformed_data_is_refused(data):
  with pytest.raises((ValueError, TypeError)):
    wire.decode(data)
