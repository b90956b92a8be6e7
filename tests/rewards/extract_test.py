"""What of a response counts as its answer."""

import pytest

from jaxrl_entropy.rewards import extract

FENCED = "```python\nprint(1)\n```\n"


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
