"""Right and wrong answers that each mathematical verifier accepts.

    python -m benchmarks.answers

Pairs of a reference and an answer in the styles of published benchmarks
(answers_benchmarks.txt in tests/fixtures), as models write them
(answers_models.txt, answers_styles.txt), and the larger table answers.txt.
Right answers are either worked out, or equal but left to work out.
"""

from collections import Counter
from pathlib import Path

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards.pool import RewardPool

FILES = Path(__file__).parents[1] / "tests" / "fixtures"
TABLES = ("answers_benchmarks.txt", "answers_models.txt",
          "answers_styles.txt", "answers.txt")  # fmt: skip
KINDS = {"=": "worked out", "+": "left to work out", "~": "spelled oddly",
         "!": "wrong"}  # fmt: skip
VERIFIERS = ("math", "math_equal", "math_verify")


def pairs(table: str) -> list[list[str]]:
  """Returns (reference, answer, relation) of the lines of a table."""
  lines = (FILES / table).read_text(encoding="utf-8").splitlines()
  return [
    [part.strip() for part in line.split("||")]
    for line in lines
    if line and not line.startswith("#")
  ]


def accepted(pool: RewardPool, table: str, verifier: str) -> Counter[str]:
  """Returns the number of accepted answers of each kind."""
  counts: Counter[str] = Counter()
  rows = pairs(table)
  items = [
    (
      Problem(f"{n}", "", gold, table, verifier),
      f"It is $\\boxed{{{answer}}}$.",
    )
    for n, (gold, answer, _) in enumerate(rows)
  ]
  for (*_, relation), verdict in zip(rows, pool.score(items), strict=True):
    counts[relation] += verdict.correct
  return counts


def main() -> None:
  with RewardPool(workers=2, timeout=10.0) as pool:
    for table in TABLES:
      totals = Counter(relation for *_, relation in pairs(table))
      print(table)
      for verifier in VERIFIERS:
        counts = accepted(pool, table, verifier)
        print(
          f"  {verifier:12}",
          *(
            f"{name} {counts[kind]}/{totals[kind]}"
            for kind, name in KINDS.items()
          ),
          sep="  ",
        )


if __name__ == "__main__":
  main()
