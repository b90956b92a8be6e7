"""`jaxrl-entropy evaluate`: accuracy of a policy on held-out problems."""

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxrl_entropy import config as config_lib, distributed
from jaxrl_entropy.cli import flags
from jaxrl_entropy.evaluation import Evaluation
from jaxrl_entropy.rewards.pool import RewardPool
from jaxrl_entropy.text import printable
from jaxrl_entropy.training import build
from jaxrl_entropy.training.held_out import evaluate_policy

SAMPLES, METRICS = "samples.jsonl", "metrics.json"
_EXAMPLES = """\
  jaxrl-entropy evaluate --config=configs/quickstart.py \\
      --run=runs/quickstart/grpo --output=runs/evaluation
  jaxrl-entropy evaluate --config=configs/eval_maths.py:aime24 \\
      --config.task.args.test_path=aime24.jsonl \\
      --config.model.preset=qwen2.5-7b --config.model.weights=FOLDER \\
      --output=runs/aime24

The config's task and eval sections say what is asked, and how. The model is
the config's; or with --run that of a trained run, at its last checkpoint, or
with --best at the one that did best on the held-out set.
"""


def main(argv: Sequence[str]) -> int:
  command = flags.parser(
    "evaluate", "Measures accuracy on the test problems of a task.", _EXAMPLES
  )
  flags.add_config_flag(command)
  command.add_argument("--run", metavar="DIR", help="workdir of a trained run")
  command.add_argument(
    "--best", action="store_true", help="the run's best policy, not its last"
  )
  command.add_argument(
    "--output", required=True, metavar="DIR", help="folder for the results"
  )
  args, overrides = flags.parse_with_overrides(command, argv)
  config = config_lib.load(args.config, overrides)
  distributed.start()
  output = Path(args.output)
  output.mkdir(parents=True, exist_ok=True)
  result = _evaluate(config, args.run, args.best)
  if distributed.is_writer():
    write(result, output)
    print(table(result.metrics))
    print(f"{len(result.records)} samples: {output / SAMPLES}")
  return 0


def _evaluate(config: ConfigDict, run: str | None, best: bool) -> Evaluation:
  if run is None:
    policy = build.build_policy(config)
  else:
    with config.unlocked():
      config.model.update(config_lib.read(run)["model"])
    policy = build.load_policy(config, run, best)
  reward = config.reward
  sampler = build.build_sampler(config, policy.model, policy.mesh)
  with RewardPool(reward.workers, reward.timeout, reward.sandbox) as pool:
    return evaluate_policy(config, policy, sampler, pool)


def write(result: Evaluation, output: Path) -> None:
  """Writes one JSON line a sample, and the metrics."""
  with (output / SAMPLES).open("w", encoding="utf-8") as lines:
    lines.writelines(json.dumps(record) + "\n" for record in result.records)
  (output / METRICS).write_text(json.dumps(result.metrics, indent=2) + "\n")


def table(metrics: Mapping[str, Any]) -> str:
  """The metrics as text: a row for each source and bucket of difficulty."""
  rows: dict[str, dict[str, float]] = {}
  for key, value in metrics.items():
    row, _, column = key.rpartition("/")
    rows.setdefault(printable(row) or "all", {})[column] = value
  columns = list(dict.fromkeys(c for row in rows.values() for c in row))
  width = max(map(len, rows))
  lines = [" " * width + "".join(f"  {column:>15}" for column in columns)]
  for name, found in rows.items():
    cells = (f"{found[c]:15.4f}" if c in found else " " * 15 for c in columns)
    lines.append(f"{name:<{width}}  " + "  ".join(cells))
  return "\n".join(lines)
