"""`jaxrl-entropy data`: looks at problems in files, and chooses among them."""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
import sys
from typing import Any

import numpy as np

from jaxrl_entropy.cli import flags
from jaxrl_entropy.data import curation, files, prompts, reading, table
from jaxrl_entropy.data.formats import FORMATS
from jaxrl_entropy.data.table import Candidate, Summary
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.rewards import references
from jaxrl_entropy.text import printable

_EXAMPLES = """\
  jaxrl-entropy data inspect deepscaler.json
  jaxrl-entropy data inspect train.parquet --format=skywork --show=3
  jaxrl-entropy data filter train.jsonl --rates=runs/train/samples.jsonl \\
      --least=0.1 --most=0.9 --output=medium.jsonl
  jaxrl-entropy data decontaminate train.jsonl \\
      --against aime24.jsonl math500.jsonl --output=clean.jsonl

Files are JSON lines, JSON arrays, Parquet or CSV (docs/data.md). The rows kept
are written as JSON lines, with all of their columns; rows that are not problems
and rows that repeat another are left out and counted.
"""
_PROGRESS = 100_000  # rows

Kept = Iterator[Candidate]


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  command = flags.parser(
    "data", "Looks at problems in files, and chooses among them.", _EXAMPLES
  )
  actions = command.add_subparsers(dest="action", required=True)
  inspecting = _action(
    actions, inspect, "counts rows, sources, answers and faults"
  )
  add = inspecting.add_argument
  add("--verifier", default="math", help="of problems without test cases")
  add("--show", type=int, default=1, metavar="N", help="problems to print")

  filtering = _action(
    actions, filter_by_rate, "keeps questions by how often they are solved"
  )
  add = filtering.add_argument
  rates = filtering.add_mutually_exclusive_group(required=True)
  rates.add_argument(
    "--rates",
    metavar="FILE",
    help="samples.jsonl of evaluate, or rows with prompt and pass_rate",
  )
  rates.add_argument("--column", metavar="NAME", help="a column with the rate")
  add("--least", type=float, default=0.0, help="lowest rate kept (default 0)")
  add("--most", type=float, default=1.0, help="highest rate kept (default 1)")
  add(
    "--instruction",
    default=prompts.BOXED,
    metavar="TEXT",
    help="task.args.instruction of the evaluation that --rates is from",
  )
  add("--output", required=True, metavar="FILE", help="JSON lines to write")

  cleaning = _action(
    actions, decontaminate, "drops questions that evaluation sets have as well"
  )
  add = cleaning.add_argument
  add("--against", nargs="+", required=True, metavar="FILE")
  add("--words", type=int, default=10, help="in a row that no two may share")
  add("--show", type=int, default=5, metavar="N", help="overlaps to print")
  add("--output", required=True, metavar="FILE", help="JSON lines to write")

  args = command.parse_args(argv)
  return args.run(args)


def _action(
  actions: Any, run: Any, description: str
) -> argparse.ArgumentParser:
  name = run.__name__.partition("_")[0]
  action = actions.add_parser(name, help=description, description=description)
  action.set_defaults(run=run)
  action.add_argument("files", nargs="+", help="files, or patterns of names")
  action.add_argument(
    "--format",
    default="auto",
    choices=FORMATS,
    metavar="NAME",
    help="layout of the rows: " + ", ".join(FORMATS),
  )
  return action


def inspect(args: argparse.Namespace) -> int:
  """Prints what files hold; the exit status is 1 if no row is a problem.

  Args:
    args: flags `files`, `format`, `verifier` and `show`.

  Raises:
    UserError: if there is no such file.
  """
  problems = files.read_table(
    _paths(args.files),
    {
      "format": args.format,
      "verifier": args.verifier,
      "instruction": prompts.BOXED,
    },
  )
  _print_summary(problems.summary)
  print(f"{len(problems)} problems, {len(set(problems.questions))} questions")
  if not len(problems):
    return 1
  _print_counts("source", (p.source for p in problems))
  _print_counts("verifier", (p.verifier for p in problems))
  _print_range("bytes of a prompt", [len(p.prompt.encode()) for p in problems])
  _print_range(
    "difficulty", [p.difficulty for p in problems if p.difficulty is not None]
  )
  print(f"{sum(bool(p.system) for p in problems)} with a system message")
  _print_unmatched(problems)
  for problem in problems[: args.show]:
    print(f"\n{_title(problem)}\n{printable(problem.prompt)}")
    print(f"=> {printable(problem.answer) or f'{len(problem.tests)} tests'}")
  return 0


def filter_by_rate(args: argparse.Namespace) -> int:
  """Writes the rows whose questions are solved at a rate within bounds.

  Args:
    args: flags of the command: the files, the bounds `least` and `most`, and
      either `rates`, a file of an evaluation, or the `column` with the rate.

  Raises:
    UserError: if the bounds are no rates in order, or no question has a rate.
  """
  if not 0 <= args.least <= args.most <= 1:
    raise UserError(
      f"--least={args.least} --most={args.most}: give rates from 0 to 1, the "
      "lower one first"
    )
  rates = curation.pass_rates(Path(args.rates)) if args.rates else {}
  counts: Counter[str] = Counter()

  def kept() -> Kept:
    for candidate, problem in _problems(args, args.instruction):
      if args.column:
        rate = _number(candidate.raw().get(args.column))
      else:
        rate = rates.get(table.question_hash(problem))
      if rate is None:
        counts["without a rate"] += 1
      elif rate < args.least:
        counts[f"below {args.least:g}"] += 1
      elif rate > args.most:
        counts[f"above {args.most:g}"] += 1
      else:
        counts["kept"] += 1
        yield candidate
    if set(counts) == {"without a rate"}:
      raise UserError(
        f"no question has a rate in {args.rates or args.column}: were the "
        "rates measured with another --instruction?"
      )

  _write(args.output, kept())
  _print_outcome(counts, args.output)
  return 0


def decontaminate(args: argparse.Namespace) -> int:
  """Writes the rows that share no run of words with evaluation sets.

  Args:
    args: flags of the command: the files, those of `against`, and the length of
      a run in `words`.

  Raises:
    UserError: if the evaluation sets hold no problem.
  """
  against = files.read_table(
    _paths(args.against),
    {"format": "auto", "verifier": "math", "instruction": ""},
  )
  if not len(against):
    raise UserError(f"--against {' '.join(args.against)}: no row is a problem")
  overlap = curation.Overlap(against, args.words)
  counts: Counter[str] = Counter()

  def kept() -> Kept:
    for candidate, problem in _problems(args, instruction=""):
      shared = overlap.find(problem)
      if shared is None:
        counts["kept"] += 1
        yield candidate
        continue
      evaluation, words = shared
      counts[f"shared with {printable(evaluation.source)}"] += 1
      if counts.total() - counts["kept"] <= args.show:
        print(f"{problem.id} ~ {evaluation.id}: {printable(words)}")

  _write(args.output, kept())
  _print_outcome(counts, args.output)
  return 0


def _paths(names: Sequence[str]) -> list[Path]:
  return [path for name in names for path in reading.expand(name)]


def _problems(
  args: argparse.Namespace, instruction: str
) -> Iterator[tuple[Candidate, Problem]]:
  """Yields the distinct problems of files; tells how many rows are read."""
  settings = {
    "format": args.format,
    "verifier": "math",
    "instruction": instruction,
  }
  summary, shown = Summary(), 0
  rows = files.candidates(_paths(args.files), settings, whole=True)
  for candidate, problem, _ in table.distinct(rows, summary):
    if summary.rows >= shown + _PROGRESS:
      shown = summary.rows
      print(f"{shown:,} rows", file=sys.stderr)
    yield candidate, problem
  _print_summary(summary)


def _write(output: str, kept: Kept) -> None:
  """Writes rows as JSON lines; an output that breaks off leaves no file."""
  path = Path(output)
  if path.exists():
    raise UserError(f"--output {output}: it is there already")
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(path.name + ".partial")
  try:
    with partial.open("w", encoding="utf-8") as lines:
      for candidate in kept:
        lines.write(curation.to_json(candidate.raw()) + "\n")
    partial.replace(path)
  finally:
    partial.unlink(missing_ok=True)


def _number(value: Any) -> float | None:
  return float(value) if isinstance(value, int | float) else None


def _print_summary(summary: Summary) -> None:
  print(
    f"{summary.rows} rows, of which {summary.duplicates} repeat another and "
    f"{summary.bad} are not problems"
  )
  for reason in summary.reasons:
    print(f"  {printable(reason)}")


def _print_counts(title: str, values: Iterator[str]) -> None:
  counts = Counter(values)
  shown = ", ".join(
    f"{printable(value)} {count}" for value, count in counts.most_common(10)
  )
  rest = f" and {len(counts) - 10} more" if len(counts) > 10 else ""
  print(f"{title}: {shown}{rest}")


def _print_range(title: str, values: Sequence[float]) -> None:
  if values:
    low, middle, high = np.quantile(values, (0, 0.5, 1))
    print(f"{title}: {low:g} to {high:g}, median {middle:g}")


def _print_unmatched(problems: Sequence[Problem]) -> None:
  unmatched = references.unmatched(problems)
  print(f"{len(unmatched)} references that no answer can match")
  for problem, reason in unmatched[: table.SHOWN]:
    answer = printable(problem.answer)
    print(f"  {problem.id}: {answer:.60}: {reason}")


def _print_outcome(counts: Mapping[str, int], output: str) -> None:
  shown = ", ".join(f"{count} {name}" for name, count in counts.items())
  print(f"{shown or 'no problems'}: {output}")


def _title(problem: Problem) -> str:
  system = f" [system: {printable(problem.system)}]" if problem.system else ""
  return f"{problem.id} ({printable(problem.source)}){system}"
