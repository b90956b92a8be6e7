"""Comparison of printed and returned values."""

import json
import time

from hypothesis import given, strategies as st
import pytest

from jaxrl_entropy.rewards.sandbox import wire
from jaxrl_entropy.rewards.verifiers import code_compare

PLAIN = st.none() | st.integers() | st.text()
LISTS = st.recursive(PLAIN, st.lists)
VALUES = st.recursive(
  PLAIN | st.booleans() | st.complex_numbers(allow_nan=False),
  lambda inner: (
    st.lists(inner)
    | st.dictionaries(PLAIN, inner)
    | st.lists(inner).map(tuple)
    | st.sets(PLAIN)
  ),
)


def returned(value, expected):
  reply = json.dumps({"value": wire.encode(value)}).encode()
  return code_compare.returned(reply, [expected])


@given(VALUES)
def test_values_equal_themselves(value):
  assert returned(value, value)


@given(LISTS, LISTS)
def test_other_values_are_told_apart(value, expected):
  assert returned(value, expected) == (value == expected)


@given(st.dictionaries(st.integers() | st.booleans() | st.none(), LISTS))
def test_dicts_equal_what_json_makes_of_them(value):
  spelled = json.loads(json.dumps(value))
  assert returned(value, spelled)
  assert not returned(value, spelled | {"": 0})


@pytest.mark.parametrize(
  ("text", "expected", "close"),
  [
    ("0.5", "0.500001", True),
    ("1e-9", "0.0", True),
    ("5e-1", ".5", True),
    ("1", "1.0", True),
    ("0.51", "0.5", False),
    ("1.0", "1", False),
    ("100000000001", "100000000000", False),
    ("nan", "nan", True),
    ("nan", "0.5", False),
    ("inf", "1e400", False),
    ("0.5 x", "0.5 y", False),
    ("0.5\n", "0.5\n0.5", False),
    ("٠.٥", "0.5", False),
  ],
)
def test_printed_floats(text, expected, close):
  assert code_compare.printed(text, expected, 1e-5) == close


def test_long_digits_cost_little():
  start = time.process_time()
  digits = "0." + "9" * 2_000_000
  assert not code_compare.printed(digits, "0.5", 1e-5)
  assert time.process_time() - start < 2
