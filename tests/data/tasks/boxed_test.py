"""Answers in a box."""

from hypothesis import given, strategies as st
import pytest

from jaxrl_entropy.data.tasks.boxed import last_boxed


@pytest.mark.parametrize(
  ("text", "content"),
  [
    (r"\boxed{7}", "7"),
    (r"\boxed {7}", "7"),
    (r"\fbox{7}", "7"),
    (r"\boxed{1} then \boxed{2}", "2"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{a\}b}", r"a\}b"),
    (r"\boxed{\boxed{3}}", r"\boxed{3}"),
    (r"\boxed{2 \boxed{3}", "3"),
    (r"\boxed{5} \boxed{", "5"),
    (r"\boxed{5", None),
    (r"\\boxed{5}", None),
    (r"}}}\boxed{5}", "5"),
    ("5", None),
    ("", None),
  ],
)
def test_last_boxed(text, content):
  assert last_boxed(text) == content


@given(st.text(alphabet="\\{}boxed7 "))
def test_last_boxed_is_balanced_and_found_in_the_text(text):
  content = last_boxed(text)
  assert content is None or f"{{{content}}}" in text
