"""The work of `jaxrl-entropy evaluate`: evaluates, writes and prints."""

from collections import Counter
from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxrl_entropy import distributed
from jaxrl_entropy.cli.evaluate import METRICS, SAMPLES
from jaxrl_entropy.data.tasks.listed import fixed
from jaxrl_entropy.distributed import Preemption
from jaxrl_entropy.evaluation import Evaluation
from jaxrl_entropy.rewards import references
from jaxrl_entropy.text import printable
from jaxrl_entropy.training import build
from jaxrl_entropy.training.held_out import evaluate_alone
from jaxrl_entropy.training.policy import build_policy, load_policy


def run(
  config: ConfigDict, workdir: str | None, best: bool, output: Path
) -> None:
  """Evaluates a policy; process 0 writes and prints the results.

  Args:
    config: of the model, the task and the evaluation.
    workdir: folder of the run that trained the policy; None for the weights of
      the config.
    best: whether to evaluate the run's best policy, not its last.
    output: folder for the results.
  """
  distributed.start()
  result = _evaluate(config, workdir, best)
  if distributed.is_writer():
    output.mkdir(parents=True, exist_ok=True)
    write(result, output)
    print(table(result))
    print(_judged_by(result.records))
    print(f"{len(result.records)} samples: {output / SAMPLES}")


def _evaluate(
  config: ConfigDict, workdir: str | None, best: bool
) -> Evaluation:
  if workdir is None:
    policy = build_policy(config)
  else:
    policy = load_policy(config, workdir, best)
  task = build.build_task(config, policy.tokenizer)
  for problems in fixed(task, "test"):
    references.report(problems, "test")
  with Preemption() as preemption:
    return evaluate_alone(config, policy, task, preemption)


def write(result: Evaluation, output: Path) -> None:
  """Writes one JSON line for each sample, and the metrics.

  `metrics.json` has the standard error of a metric under its name and
  `_stderr`.

  Args:
    result: the evaluation's samples and metrics.
    output: an existing folder for `samples.jsonl` and `metrics.json`.
  """
  with (output / SAMPLES).open("w", encoding="utf-8") as lines:
    lines.writelines(json.dumps(record) + "\n" for record in result.records)
  metrics = json.dumps(result.table, indent=2)
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
