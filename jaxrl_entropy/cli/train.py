"""`jaxrl-entropy train`: one run of reinforcement learning."""

from collections.abc import Sequence

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.cli import flags
from jaxrl_entropy.config import reference

_EXAMPLES = """\
  jaxrl-entropy train --config=configs/quickstart.py:kl_cov --workdir=runs/kl
  jaxrl-entropy train --config=configs/quickstart.py:grpo --workdir=runs/a \\
      --config.steps=40 --config.optimizer.learning_rate=1e-4

The same command again continues from the last checkpoint.

fields of the config, with their defaults:

"""


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  command = flags.parser(
    "train", "Trains a policy.", _EXAMPLES + reference.help_text()
  )
  flags.add_config_flag(command)
  flags.add_workdir_flag(command, "folder of this run")
  args, overrides = flags.parse_with_overrides(command, argv)
  config = config_lib.load(args.config, overrides)
  # JAX takes a second to load, which --help and mistakes need not wait for.
  from jaxrl_entropy import distributed
  from jaxrl_entropy.training import loop

  distributed.start()
  return loop.train(config, args.workdir)
