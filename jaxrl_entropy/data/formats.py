"""The layouts of published data sets: which column holds which field."""

from dataclasses import dataclass

from jaxrl_entropy.data import cases
from jaxrl_entropy.errors import nearest


@dataclass(frozen=True)
class Format:
  """The columns of a layout; the first that a row has counts.

  Attributes:
    question: columns of the question, as text or as messages. `a.b` is the
      field `b` of the column `a`.
    answer: columns of the reference answer.
    tests: layouts of test cases, by their names in `cases.LAYOUTS`.
  """

  question: tuple[str, ...]
  answer: tuple[str, ...] = ()
  tests: tuple[str, ...] = ()


_TRUTH = "reward_model.ground_truth"
_VERL = Format(("prompt",), (_TRUTH,))

FORMATS = {
  "auto": Format(
    question=(
      *("prompt", "problem", "question", "messages"),
      *("question_content", "description", "text"),
    ),
    answer=("answer", "ground_truth", _TRUTH, "final_answer", "label"),
    tests=tuple(cases.LAYOUTS),
  ),
  "verl": _VERL,
  "dapo": _VERL,
  "eurus": _VERL,
  "skywork": _VERL,
  "slime": Format(("prompt",), ("label",)),
  "gsm8k": Format(("question",), ("answer",)),
  "math": Format(("problem",), ("answer",)),
  "deepscaler": Format(("problem",), ("answer",)),
  "deepmath": Format(("question",), ("final_answer",)),
  "olympiad_bench": Format(("question",), ("final_answer",)),
  "aime": Format(("problem", "question"), ("answer",)),
  "orz": Format(("question",), ("answer",)),
  "apps": Format(("question",), tests=("input_output",)),
  "taco": Format(("question",), tests=("input_output",)),
  "codecontests": Format(("description",), tests=("code_contests",)),
  "livecodebench": Format(("question_content",), tests=("live_code_bench",)),
  "deepcoder": Format(("problem",), tests=("tests",)),
  "mbpp": Format(("text", "prompt"), tests=("mbpp",)),
  "humaneval": Format(("prompt",), tests=("human_eval",)),
}
"""`auto` knows the columns of all of them; a row of one that is named must
have that one's columns."""

COLUMNS = frozenset(
  column.partition(".")[0]
  for layout in FORMATS.values()
  for column in (*layout.question, *layout.answer)
) | {
  *("system", "solution", "data_source", "source", "difficulty", "level"),
  *("choices", "options", "starter_code", "tests", "input_output", "metadata"),
  *("public_tests", "private_tests", "generated_tests"),
  *("public_test_cases", "private_test_cases", "test", "entry_point"),
  *("test_list", "test_setup_code", "test_imports"),
  *("conversations", "instruction", "input", "query", "response", "correct"),
  *("completion", "output", "generation", "greedy"),
}
"""The columns that are read; others only cost time."""


def format_named(name: str) -> Format:
  """Returns a format of `FORMATS`.

  Args:
    name: a key of `FORMATS`, such as "auto".

  Raises:
    ValueError: there is none of this name.
  """
  if name not in FORMATS:
    raise ValueError(f"format={name!r}: {nearest(name, FORMATS)}")
  return FORMATS[name]
