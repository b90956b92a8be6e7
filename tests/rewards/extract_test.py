"""What of a response counts as its answer."""

from hypothesis import given, strategies as st
import pytest

from jaxrl_entropy.rewards import extract

FENCED = "```python\nprint(1)\n```\n"


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
  assert extract.last_boxed(text) == content


@given(st.text(alphabet="\\{}boxed7 "))
def test_last_boxed_is_balanced_and_found_in_the_text(text):
  content = extract.last_boxed(text)
  assert content is None or f"{{{content}}}" in text


@pytest.mark.parametrize(
  ("text", "program"),
  [
    (FENCED, "print(1)\n"),
    (FENCED + "```\nprint(2)\n```", "print(2)\n"),
    (FENCED + "```text\noutput\n```", "print(1)\n"),
    (FENCED + "```python\nprint(2)", "print(1)\n"),
    ("```python\nprint(1)", None),
    ("print(1)", None),
    (f"<think>{FENCED}</think>", None),
    (f"<think>{FENCED}", None),
    (f"<think>x</think>{FENCED}", "print(1)\n"),
    ("````py\nx = '```'\n````", "x = '```'\n"),
    ("say ```x``` and\n" + FENCED, "print(1)\n"),
    ("", None),
  ],
)
def test_last_code_block(text, program):
  assert extract.last_code_block(text) == program


@pytest.mark.parametrize(
  ("text", "answer"),
  [
    ("<answer>7</answer>", "7"),
    ("<answer>7</answer> no, <answer> 8\n</answer>", "8"),
    ("<answer>7</answer> no, <answer>8", "7"),
    ("<answer>7", None),
    ("7</answer>", None),
  ],
)
def test_last_tagged(text, answer):
  assert extract.last_tagged(text) == answer
