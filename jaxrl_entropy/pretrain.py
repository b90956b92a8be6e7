"""`jaxrl-entropy pretrain`: the supervised warm start of a run, alone."""

from collections.abc import Sequence

from jaxrl_entropy import cli, config as config_lib, distributed
from jaxrl_entropy.training import pretrain

_EXAMPLES = """\
  jaxrl-entropy pretrain --config=configs/quickstart.py --workdir=runs/start

`train` does this by itself where the warm start is missing.
"""


def main(argv: Sequence[str]) -> int:
  command = cli.parser(
    "pretrain", "Warm-starts a policy on demonstrations of its task.", _EXAMPLES
  )
  cli.add_config_flag(command)
  command.add_argument("--workdir", required=True, help="folder of the run")
  args, overrides = cli.parse_with_overrides(command, argv)
  config = config_lib.load(args.config, overrides)
  distributed.start()
  pretrain.pretrain(config, args.workdir)
  return 0
