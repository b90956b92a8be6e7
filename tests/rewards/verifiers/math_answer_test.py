"""Equality of answers: the tables tests/fixtures/answers*.txt."""

from fractions import Fraction
import functools
from pathlib import Path
import time

from hypothesis import example, given, settings, strategies as st
import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards.verifiers import math_answer
from jaxrl_entropy.rewards.verifiers.maths import compare, symbolic
from jaxrl_entropy.rewards.verifiers.maths.leaves import Rules

FILES = Path(__file__).parents[2] / "fixtures"
TABLES = tuple(
  FILES / f"answers{name}.txt"
  for name in ("", "_benchmarks", "_models", "_styles")
)
LINES = 100  # of the tables, in a test
EQUAL, UNFINISHED, UNEQUAL, MISSED = "=+!~"
STRICT = Rules(symbolic.is_worked_out, symbolic.is_worked_out_multiple)
LENIENT = Rules(symbolic.is_equal, symbolic.is_multiple, strict=False)


@functools.cache
def rows(*paths):
  return [
    tuple(part.strip() for part in line.split("||"))
    for path in paths or TABLES
    for line in path.read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
  ]


def problem(answer, prompt=""):
  return Problem("1", prompt, answer, "test", "math")


def is_as_marked(gold, answer, relation):
  return compare.equal(gold, answer, STRICT) == (
    relation == EQUAL
  ) and compare.equal(gold, answer, LENIENT) == (
    relation in (EQUAL, UNFINISHED)
  )


@pytest.mark.parametrize("first", range(0, len(rows()), LINES))
def test_table(first):
  lines = rows()[first : first + LINES]
  assert not [line for line in lines if not is_as_marked(*line)]


def test_the_table_is_large_and_has_all_kinds():
  relations = [relation for *_, relation in rows()]
  assert relations.count(EQUAL) >= 600
  assert relations.count(UNFINISHED) >= 200
  assert relations.count(UNEQUAL) >= 800
  assert relations.count(MISSED) <= 0.02 * len(relations)


KINDS = {
  "a decimal that goes on": ("\\frac{7}{30}", "0.2333\\ldots", "0.2323\\ldots"),
  "overlines in Unicode": ("\\frac{1}{3}", "0.3\u0304", "0.4\u0304"),
  "numbers in words": ("105", "one hundred five", "one hundred six"),
  "ordinals": ("12", "12^{\\text{th}}", "13^{\\text{th}}"),
  "a decimal comma": ("2.5", "2{,}5", "2{,}500"),
  "measures in two units": ("90 min", "1 hour 30 min", "1 hour 50 min"),
  "times of day": ("3:45 p.m.", "15:45", "3:45 AM"),
  "dates": ("March 14, 2025", "14 Mar 2025", "March 15, 2025"),
  "degrees in radians": ("60^\\circ", "\\frac{\\pi}{3}", "\\frac{\\pi}{6}"),
  "intervals in French": ("[0,1)", "[0,1[", "]0,1]"),
  "intersections": ("[2,5)\\cup(5,\\infty)", "x\\ge2, x\\ne5", "x>2, x\\ne5"),
  "magnitudes": ("x<1 \\text{ or } x>3", "|x-2|>1", "|x+2|>1"),
  "rows in brackets": ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}",
                       "[[1,2],[3,4]]", "[[1,3],[2,4]]"),
  "columns": ("(1,2)", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(2,1)^T"),
  "unit vectors": ("(3,-4)", "3\\hat{i}-4\\hat{j}", "3\\hat{i}+4\\hat{j}"),
  "residues": ("x\\equiv3\\pmod7", "x=7k+3", "x=3k+7"),
  "parameters": ("\\frac{\\pi}{4}+k\\pi", "\\frac{\\pi}{4}+n\\pi",
                 "\\frac{\\pi}{4}+2n\\pi"),
  "arguments of functions": ("f(x)=2x+1", "f(t)=2t+1", "f(t)=2t-1"),
  "sums that are asked for": ("27", "m+n=27", "x+y=27"),
  "chains of unknowns": ("(1,1)", "x=y=1", "x=y=2"),
  "clauses": ("f(x)=x", "f(x)=x \\text{ for all real } x",
              "f(x)=x \\text{ for all but one } x"),
  "introductions": ("7", "\\text{The minimum is } 7", "\\text{It is not } 7"),
  "labels": ("C", "\\text{C) 15}", "\\text{D) 15}"),
  "several choices": ("AC", "A, C", "A, D"),
  "cases": ("\\begin{cases}1&x>0\\\\0&x\\le0\\end{cases}",
            "\\begin{cases}1&\\text{if }x>0\\\\0&\\text{if }x\\le0\\end{cases}",
            "\\begin{cases}1&x\\ge0\\\\0&x<0\\end{cases}"),
  "polar forms": ("i", "\\operatorname{cis}90^\\circ", "\\operatorname{cis}0"),
  "currencies": ("\\$7", "USD 7", "EUR 7"),
  "indices of capitals": ("I_0t", "t I_0", "t I_1"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_spelling_and_what_is_near_it(kind):
  gold, right, wrong = KINDS[kind]
  assert compare.equal(gold, right, LENIENT)
  assert not compare.equal(gold, wrong, LENIENT)
  assert not compare.equal(gold, wrong, STRICT)


def test_benchmark_answers_are_mostly_recognized():
  relations = [relation for *_, relation in rows(TABLES[1])]
  right = len(relations) - relations.count(UNEQUAL)
  assert right >= 265
  assert relations.count(UNEQUAL) >= 242
  assert relations.count(MISSED) <= 0.05 * right


def score(gold, response, prompt=""):
  return math_answer.reward(
    problem(gold, prompt),
    response,
    symbolic.is_worked_out,
    symbolic.is_worked_out_multiple,
  )


def score_equal(gold, response, prompt=""):
  return math_answer.reward_equal(
    problem(gold, prompt), response, symbolic.is_equal, symbolic.is_multiple
  )


def test_only_the_last_complete_box_counts():
  assert score("7", r"\boxed{7}") == 1
  assert score("7", r"\boxed{7}, or rather \boxed{8}") == 0
  assert score("7", r"\boxed{7}, or rather \boxed{8") == 1
  assert score("7", "The answer is 7.") == 0
  assert score(r"\boxed{7}", r"\boxed{7}") == 1


def test_a_formula_of_the_question_is_no_answer():
  prompt = "Factor $x^2 - 1$."
  assert score("(x-1)(x+1)", r"\boxed{x^2-1}", prompt) == 0
  assert score("(x-1)(x+1)", r"\boxed{(x+1)(x-1)}", prompt) == 1
  assert score("(x-1)(x+1)", r"\boxed{x^2-1}") == 1
  # Numbers in the question may well be its answer.
  assert score(r"\frac{1}{2}", r"\boxed{1/2}", "Is it 1/2 or 1/3?") == 1


@pytest.mark.parametrize(
  ("prompt", "gold", "answer", "right"),
  [
    (r"Simplify $\frac{12}{16}$.", r"\frac{3}{4}", r"\frac{12}{16}", False),
    (r"Simplify $\frac{12}{16}$.", r"\frac{3}{4}", "x = 12/16", False),
    (r"Simplify $\frac{12}{16}$.", r"\frac{3}{4}", "0.75", True),
    (r"Simplify $\frac{12}{16}$.", r"\frac{3}{4}", r"\frac{6}{8}", True),
    (r"Simplify $\frac{112}{16}$.", r"\frac{3}{4}", r"\frac{12}{16}", True),
    ("Write 0.125 as a fraction.", r"\frac{1}{8}", "0.125", False),
    ("Write 50% as a decimal.", "0.5", r"50\%", False),
    ("Write $3 \\times 10^4$ out.", "30000", r"3 \times 10^4", False),
    ("It has $30^\\circ$.", "30", r"30^\circ", True),
    ("It costs $12.5.", r"\$12.50", "12.5", True),
    ("It has probability 1/2.", r"\frac{1}{2}", "1/2", True),
    ("Factor $x^2-1$.", "(x-1)(x+1)", "{y = x^2 - 1}", False),
  ],
)
def test_a_restatement_is_no_worked_out_answer(prompt, gold, answer, right):
  response = rf"\boxed{{{answer}}}"
  assert score(gold, response, prompt) == right
  assert score_equal(gold, response, prompt)


@pytest.mark.parametrize(
  ("answer", "right"),
  [
    (r"\boxed{7}", True),
    (r"x = \fbox{7}", True),
    (r"8 - \boxed{7}", False),
    (r"8 \text{ or } \boxed{7}", False),
    (r"\boxed{8}\boxed{7}", False),
  ],
)
def test_a_box_in_a_box_is_its_content(answer, right):
  assert score("7", rf"\boxed{{{answer}}}") == right


def test_plain_answers_are_decided_at_once_and_alike():
  for gold, answer, _ in rows():
    response = f"\\boxed{{{answer}}}"
    decided = math_answer.decide(problem(gold), response)
    if decided is not None:
      assert decided == score(gold, response), (gold, answer)
    decided = math_answer.decide_equal(problem(gold), response)
    if decided is not None:
      assert decided == score_equal(gold, response), (gold, answer)


@settings(deadline=None, max_examples=200)
@given(
  st.text(alphabet="0123456789.,+-*/^_(){}[]\\ xfrac|=<>%'\"½²√​", max_size=40)
)
@example("_")
@example("()_8")
def test_noise_never_raises(text):
  math_answer.decide(problem("7"), f"\\boxed{{{text}}}")
  math_answer.decide_equal(problem(text), "\\boxed{7}")
  math_answer.gradable(text)


@pytest.mark.parametrize("piece", [
  r"\frac{", r"\sqrt", "{", "(", r"\frac1", r"\over", "x^", "1,", r"\{",
  r"\begin{array}", "0.", "-", r"\text{a", r"\le x", "|", r"\cup",
])  # fmt: skip
def test_hostile_repetition_is_refused_quickly(piece):
  text = piece * (2000 // len(piece))
  start = time.process_time()
  math_answer.decide(problem("7"), f"\\boxed{{{text}}}")
  math_answer.decide_equal(problem(text), "\\boxed{7}")
  assert time.process_time() - start < 1


@given(st.integers(-999, 999), st.integers(1, 999), st.integers(1, 9))
def test_every_spelling_of_a_fraction_is_equal(above, below, factor):
  gold = f"\\frac{{{above}}}{{{below}}}"
  same = Fraction(above, below)
  spelled = f"{above * factor}/{below * factor}"
  assert decide(gold, spelled) == (same.denominator > 1)
  assert decide(gold, f"\\frac{{{above + 1}}}{{{below}}}") == 0


def decide(gold, answer):
  return math_answer.decide(problem(gold), f"\\boxed{{{answer}}}")
