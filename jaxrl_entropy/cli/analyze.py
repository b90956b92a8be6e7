"""`jaxrl-entropy analyze`: the report on a study or a single run."""

from collections.abc import Sequence

from jaxrl_entropy.cli import flags
from jaxrl_entropy.report import writer

_EXAMPLES = """\
  jaxrl-entropy analyze --workdir=runs/quickstart
"""


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  command = flags.parser(
    "analyze", "Writes report.html, summary.json and plots of runs.", _EXAMPLES
  )
  command.add_argument(
    "--workdir",
    required=True,
    help="folder of a study, of several, or of one run",
  )
  args = command.parse_args(argv)
  page, *_ = writer.write_report(args.workdir)
  print(f"report: {page}")
  return 0
