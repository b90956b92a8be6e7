"""`jaxrl-entropy samples`: sampled responses of a run, in the terminal."""

from collections.abc import Sequence
import os
import pathlib
import sys

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import samples
from jaxrl_entropy.analysis.samples import Sample
from jaxrl_entropy.cli import flags
from jaxrl_entropy.errors import UserError, nearest
from jaxrl_entropy.text import printable

_EXAMPLES = """\
  jaxrl-entropy samples --workdir=runs/mine
  jaxrl-entropy samples --workdir=runs/mine --step=40 --by=covariance
"""
_RESET = "\x1b[0m"
# 256-color backgrounds from weak to strong.
_WARM = (230, 229, 222, 216, 209, 203)
_COLD = (195, 153, 117, 75, 69, 63)
_HIGH_PERCENTILE = 98


def main(argv: Sequence[str]) -> int:
  """Prints the samples of one step; returns the exit status."""
  command = flags.parser(
    "samples",
    "Prints sampled responses of a run. On a terminal, tokens are colored by "
    "entropy, by covariance (red lowers the entropy, blue raises it), or by a "
    "rule that selects them.",
    _EXAMPLES,
  )
  command.add_argument("--workdir", required=True, help="folder of the run")
  command.add_argument(
    "--step", type=int, help="step to show; the last recorded one by default"
  )
  command.add_argument(
    "--by",
    default="entropy",
    metavar="QUANTITY",
    help="entropy (default), covariance, or the name of a rule",
  )
  args = command.parse_args(argv)
  loaded, notes = samples.load(pathlib.Path(args.workdir))
  for note in notes:
    print(note, file=sys.stderr)
  if not loaded:
    raise UserError(
      f"{args.workdir} holds no {run_files.SAMPLES}: give the folder of a run "
      "that was trained with log.samples_every above 0"
    )
  shown = _of_step(loaded, args.step)
  levels = _levels(shown, args.by)
  colored = sys.stdout.isatty() and "NO_COLOR" not in os.environ
  for sample, level in zip(shown, levels, strict=True):
    print(_text(sample, level if colored else None))
  return 0


def _of_step(loaded: Sequence[Sample], step: int | None) -> list[Sample]:
  steps = sorted({sample.step for sample in loaded})
  if step is None:
    step = steps[-1]
  if step not in steps:
    raise UserError(
      f"--step={step} has no samples; steps with samples: "
      f"{', '.join(map(str, steps))}"
    )
  return [sample for sample in loaded if sample.step == step]


def _levels(shown: Sequence[Sample], by: str) -> list[np.ndarray]:
  """Returns a value from -1 to 1 for each token of each sample.

  Raises:
    UserError: if no sample has such a quantity.
  """
  rules = sorted({rule for sample in shown for rule in sample.selected})
  if by in rules:
    return [
      sample.selected[by].astype(float)
      if by in sample.selected
      else np.zeros(len(sample.tokens))
      for sample in shown
    ]
  if by not in ("entropy", "covariance"):
    names = ["entropy", "covariance", *rules]
    raise UserError(f"--by={by!r} is unknown; {nearest(by, names)}")
  values = [np.nan_to_num(getattr(sample, by)) for sample in shown]
  high = np.percentile(np.abs(np.concatenate(values)), _HIGH_PERCENTILE)
  return [np.clip(value / (high or 1.0), -1, 1) for value in values]


def _text(sample: Sample, level: np.ndarray | None) -> str:
  verdict = "correct" if sample.correct else "incorrect"
  tokens = [printable(token) for token in sample.tokens]
  if level is not None:
    pairs = zip(tokens, level, strict=True)
    tokens = [_colored(token, value) for token, value in pairs]
  return (
    f"step {sample.step}, problem {printable(sample.problem)}: {verdict}, "
    f"reward {sample.reward:.3f}\n"
    f"{printable(sample.prompt)}\n> {''.join(tokens)}\n"
  )


def _colored(token: str, value: float) -> str:
  scale = _WARM if value > 0 else _COLD
  index = round(abs(value) * len(scale))
  if not index:
    return token
  color = f"\x1b[30;48;5;{scale[index - 1]}m"
  # A background must not run on behind a line break.
  return "\n".join(
    f"{color}{line}{_RESET}" if line else "" for line in token.split("\n")
  )
