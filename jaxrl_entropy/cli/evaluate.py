"""`jaxrl-entropy evaluate`: accuracy of a policy on held-out problems."""

from collections import Counter
from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxrl_entropy import config as config_lib, distributed
from jaxrl_entropy.cli import flags
from jaxrl_entropy.data.tasks.listed import fixed
from jaxrl_entropy.evaluation import Evaluation
from jaxrl_entropy.rewards import references
from jaxrl_entropy.rewards.settings import make_pool
from jaxrl_entropy.text import printable
from jaxrl_entropy.training import build
from jaxrl_entropy.training.held_out import evaluate_policy
from jaxrl_entropy.training.policy import build_policy, load_policy

SAMPLES, METRICS = "samples.jsonl", "metrics.json"
_EXAMPLES = """\
  jaxrl-entropy evaluate --run=runs/quickstart/grpo --output=runs/evaluation
  jaxrl-entropy evaluate --config=configs/evaluation.py:aime24 \\
      --config.task.args.test_path=aime24.jsonl --run=runs/mine --best \\
      --output=runs/mine_aime24
  jaxrl-entropy evaluate --config=configs/evaluation.py:aime24:qwen3 \\
      --config.task.args.test_path=aime24.jsonl \\
      --config.model.preset=qwen2.5-7b --config.model.weights=FOLDER \\
      --output=runs/aime24

The config's task and eval sections say what is asked, and how. The model is
the config's; or with --run that of a trained run, at its last checkpoint, or
with --best at the one that did best on the held-out set. With --run alone, the
run's own task is asked, and judged as it was in training.
"""


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  command = flags.parser(
    "evaluate", "Measures accuracy on the test problems of a task.", _EXAMPLES
  )
  flags.add_config_flag(command, required=False)
  command.add_argument("--run", metavar="DIR", help="workdir of a trained run")
  command.add_argument(
    "--best", action="store_true", help="the run's best policy, not its last"
  )
  command.add_argument(
    "--output", required=True, metavar="DIR", help="folder for the results"
  )
  args, overrides = flags.parse_with_overrides(command, argv)
  if not (args.config or args.run):
    command.error("which model? give --run or --config")
  if args.best and not args.run:
    command.error("--best is the best policy of a run: give --run")
  output = Path(args.output)
  if (output / SAMPLES).exists():
    command.error(f"--output {output} holds an evaluation: choose another")
  config = _config(args.config, args.run, overrides)
  distributed.start()
  result = _evaluate(config, args.run, args.best)
  if distributed.is_writer():
    output.mkdir(parents=True, exist_ok=True)
    write(result, output)
    print(table(result))
    print(_judged_by(result.records))
    print(f"{len(result.records)} samples: {output / SAMPLES}")
  return 0


def _config(
  file: str | None, run: str | None, overrides: Sequence[tuple[str, str]]
) -> ConfigDict:
  """Returns the config of a file, with a run's model; or else of the run."""
  if file is None:
    return config_lib.of_run(str(run), overrides)
  config = config_lib.load(file, overrides)
  if run is not None:
    with config.unlocked():
      config.model.update(config_lib.read(run)["model"])
  return config


def _evaluate(config: ConfigDict, run: str | None, best: bool) -> Evaluation:
  if run is None:
    policy = build_policy(config)
  else:
    policy = load_policy(config, run, best)
  task = build.build_task(config, policy.tokenizer)
  for problems in fixed(task, "test"):
    references.report(problems, "test")
  sampler = build.build_sampler(config, policy.model, policy.mesh)
  with make_pool(config.reward.to_dict()) as pool:
    return evaluate_policy(config, policy, task, sampler, pool)


def write(result: Evaluation, output: Path) -> None:
  """Writes one JSON line for each sample, and the metrics.

  `metrics.json` has the standard error of a metric under its name and
  `_stderr`.
  """
  with (output / SAMPLES).open("w", encoding="utf-8") as lines:
    lines.writelines(json.dumps(record) + "\n" for record in result.records)
  errors = {f"{name}_stderr": value for name, value in result.stderr.items()}
  metrics = json.dumps(result.metrics | errors, indent=2)
  (output / METRICS).write_text(metrics + "\n")


def table(result: Evaluation) -> str:
  """Returns the metrics as text: a row for each source and difficulty."""
  rows: dict[str, dict[str, str]] = {}
  for name, value in result.metrics.items():
    row, _, column = name.rpartition("/")
    if column.endswith("_stderr"):
      continue
    error = result.stderr.get(name)
    cell = f"{value:.4g}" if error is None else f"{value:.4f} ±{error:.4f}"
    rows.setdefault(printable(row) or "all", {})[column] = cell
  columns = list(dict.fromkeys(c for row in rows.values() for c in row))
  width = max(map(len, rows))
  lines = [" " * width + "".join(f"  {column:>15}" for column in columns)]
  for name, cells in rows.items():
    line = "".join(f"  {cells.get(column, ''):>15}" for column in columns)
    lines.append(f"{name:<{width}}{line}")
  return "\n".join(lines)


def _judged_by(records: Sequence[Mapping[str, Any]]) -> str:
  verifiers = {record["id"]: record["verifier"] for record in records}
  counts = Counter(verifiers.values())
  return "judged by " + ", ".join(
    f"{name} ({count} problems)" for name, count in counts.items()
  )
