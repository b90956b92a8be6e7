"""`jaxrl-entropy sft`: supervised fine-tuning of a policy, alone."""

from collections.abc import Sequence

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.cli import flags

_EXAMPLES = """\
  jaxrl-entropy sft --config=configs/quickstart.py --workdir=runs/start

`train` runs this stage by itself where its checkpoint is missing.
"""


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  command = flags.parser(
    "sft", "Fine-tunes a policy on demonstrations of its task.", _EXAMPLES
  )
  flags.add_config_flag(command)
  flags.add_workdir_flag(command, "folder of the run")
  args, overrides = flags.parse_with_overrides(command, argv)
  config = config_lib.load(args.config, overrides)
  # JAX takes a second to load, which --help and mistakes need not wait for.
  from jaxrl_entropy import distributed
  from jaxrl_entropy.training import sft

  distributed.start()
  sft.fine_tune(config, args.workdir)
  return 0
