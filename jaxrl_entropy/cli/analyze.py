"""`jaxrl-entropy analyze`: the report on a run, a study, or several studies."""

from collections.abc import Sequence
import json
import sys

from jaxrl_entropy.cli import flags
from jaxrl_entropy.text import printable

_EXAMPLES = """\
  jaxrl-entropy analyze --workdir=runs/quickstart
"""


def main(argv: Sequence[str]) -> int:
  """Writes the report and names its page; returns the exit status."""
  command = flags.parser(
    "analyze",
    "Writes report.html, summary.json and plots of runs into WORKDIR/report.",
    _EXAMPLES,
  )
  command.add_argument(
    "--workdir",
    required=True,
    help="folder of a run, of a study with runs in it, or of several studies",
  )
  args = command.parse_args(argv)
  # Matplotlib takes a second to load, which --help need not wait for.
  from jaxrl_entropy.report import writer

  page, summary, *_ = writer.write_report(args.workdir)
  for note in json.loads(summary.read_text(encoding="utf-8")).get("notes", ()):
    print(f"note: {printable(note)}", file=sys.stderr)
  print(f"report: {page}")
  return 0
