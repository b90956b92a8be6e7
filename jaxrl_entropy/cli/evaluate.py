"""`jaxrl-entropy evaluate`: accuracy of a policy on held-out problems."""

from collections.abc import Sequence
from pathlib import Path

from jaxrl_entropy.cli import flags

SAMPLES, METRICS = "samples.jsonl", "metrics.json"
_EXAMPLES = """\
  jaxrl-entropy evaluate --workdir=runs/quickstart/grpo --output=runs/evaluation
  jaxrl-entropy evaluate --config=configs/evaluation.py:aime24 \\
      --config.task.args.test_path=aime24.jsonl --workdir=runs/mine --best \\
      --output=runs/mine_aime24
  jaxrl-entropy evaluate --config=configs/evaluation.py:aime24:qwen3 \\
      --config.task.args.test_path=aime24.jsonl \\
      --config.model.weights=FOLDER \\
      --output=runs/aime24

The task and eval sections of the config choose the problems and the sampling.
The model is the config's, or with --workdir that of a trained run: its last
checkpoint, or with --best the one with the best result on the held-out set.
With --workdir alone, the run's own task is evaluated and judged as in training.
"""


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  command = flags.parser(
    "evaluate", "Measures accuracy on the test problems of a task.", _EXAMPLES
  )
  flags.add_policy_flags(command)
  command.add_argument(
    "--output", required=True, metavar="DIR", help="folder for the results"
  )
  args, overrides = flags.parse_with_overrides(command, argv)
  config = flags.read_config(args, overrides)
  output = Path(args.output)
  if (output / SAMPLES).exists():
    command.error(f"--output {output} holds an evaluation: choose another")
  # JAX takes a second to load, which --help and mistakes need not wait for.
  from jaxrl_entropy.cli import evaluation

  evaluation.run(config, args.workdir, args.best, output)
  return 0
