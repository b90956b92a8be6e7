"""The answers that are found in responses."""

import time

import pytest

from jaxrl_entropy.rewards.verifiers import extract

FENCED = "```python\nprint(1)\n```\n"


@pytest.mark.parametrize(
  ("text", "program"),
  [
    (FENCED, "print(1)\n"),
    (FENCED + "```text\noutput\n```", "print(1)\n"),
    (FENCED + "```python\nprint(2)", "print(1)\n"),
    (FENCED + FENCED.replace("1", "2"), "print(2)\n"),
    # A block without a language after one of Python may be sample output.
    (FENCED + "```\nprint(2)\n```", "print(1)\n"),
    ("```\nprint(1)\n```\n```\nprint(2)\n```", "print(2)\n"),
    ("```python\nprint(1)", None),
    ("print(1)", None),
    (f"<think>{FENCED}</think>", None),
    (f"<think>{FENCED}", None),
    (f"<think>x</think>{FENCED}", "print(1)\n"),
    ("````py\nx = '```'\n````", "x = '```'\n"),
    ("say ```x``` and\n" + FENCED, "print(1)\n"),
    ("", None),
    ("```py3\nx\n```", "x\n"),
    ("```Python3.11\nx\n```", "x\n"),
    ('```python title="x.py"\nx\n```', "x\n"),
    ("``` {.python}\nx\n```", "x\n"),
    ("```pycon\n>>> x\n```", None),
    ("```javascript\nx\n```", None),
    ("~~~python\nx = 1\n~~~", "x = 1\n"),
    ("~~~\n```\n~~~", "```\n"),
  ],
)
def test_last_code_block(text, program):
  assert extract.last_code_block(text) == program


@pytest.mark.parametrize(
  ("text", "program"),
  [
    ("1. Do\n   ```python\n   if x:\n     y\n   ```\n", "if x:\n  y\n"),
    ("- ```python\n  if x:\n    y\n  ```\n", "if x:\n  y\n"),
    ("  ```python\nif x:\n  y\n  ```\n", "if x:\n  y\n"),
    ("The program: ```python\nx\n```", "x\n"),
    ("The output: ```\nx\n```", None),
    ("```python\nx = 1```", "x = 1\n"),
    ("```python\nx = '```'\n```", "x = '```'\n"),
    ('```python\n"""\n    ```\n"""\n```', '"""\n    ```\n"""\n'),
  ],
)
def test_where_fences_may_stand(text, program):
  assert extract.last_code_block(text) == program


@pytest.mark.parametrize("text", ["`", "~", " ", "```x ", "1. ", "\n```", "{"])
def test_long_responses_take_linear_time(text):
  start = time.process_time()
  extract.last_code_block(text * 300_000)
  extract.last_code_block(text * 300_000 + "```")
  assert time.process_time() - start < 5


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
