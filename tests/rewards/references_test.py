"""References that no answer can equal."""

import time

import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards import catalog, references
from jaxrl_entropy.rewards.references import gradable, report, unmatched

WORKING = "Ann has 3 <<3=3>> and Bob 4.\nTogether <<3+4=7>>7\n#### 7"


@pytest.mark.parametrize("reference", [
  "7", r"\frac{1}{2}", r"\(7\)", r"\[7\]", "**7**", "Answer: 7", "7 apples",
  "1e-05", "1e+16", r"\text{Monday}", "x^2 + 1", r"(-\infty, 3]", "A",
  r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\triangle ABC", "101_2",
  r"\boxed{7}", r"\text{no real solutions}",
])  # fmt: skip
def test_answers_are_gradable(reference):
  assert gradable("math", reference) is None
  assert gradable("math_equal", reference) is None


@pytest.mark.parametrize(
  ("reference", "reason"),
  [
    ("", "empty"),
    (WORKING, "no mathematical notation"),
    ('["204"]', "no mathematical notation"),
    ('{"inputs": [], "outputs": []}', "no mathematical notation"),
    ("We prove the claim by induction on the number of vertices", "11 words"),
    ("x" * 3000, "too long"),
  ],
)
def test_what_only_its_own_text_equals_is_told(reference, reason):
  assert reason in gradable("math", reference)


def test_verifiers_without_references_grade_anything():
  assert gradable("code", "") is None
  assert gradable("my_lab.rewards:mine", "") is None


def test_many_references_are_checked_in_seconds():
  start = time.process_time()
  for _ in range(1000):
    gradable("math", r"\left(\frac{1}{2}, 3\sqrt{5} + 12 \pi\right)")
  assert time.process_time() - start < 2


def test_every_mathematical_verifier_is_registered():
  names = {"math", "math_equal", "math_verify"}
  assert names <= catalog.SANDBOXED.keys()


def problems(*answers):
  return [
    Problem(f"a.jsonl:{line}", "Q", answer, "s", "math")
    for line, answer in enumerate(answers, 1)
  ]


def test_a_few_references_that_nothing_matches_are_named():
  few = problems("7", "8", WORKING, "9")
  assert [p.id for p, _ in unmatched(few)] == ["a.jsonl:3"]
  with pytest.warns(UserWarning, match=r"1 of 4 train problems") as caught:
    report(few, "train")
  assert "a.jsonl:3: Ann has 3" in str(caught[0].message)


def test_a_set_of_them_is_refused():
  with pytest.raises(ValueError, match=r"2 of 3 test problems have"):
    report(problems("7", WORKING, ""), "test")
  report([], "test")


def test_of_many_problems_some_are_checked(monkeypatch):
  monkeypatch.setattr(references, "CHECKED", 10)
  many = problems(*["7"] * 30, WORKING)
  with pytest.warns(UserWarning, match="1 of 8 train problems"):
    report(many[::-1], "train")
