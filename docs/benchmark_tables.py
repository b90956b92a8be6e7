"""Tables of docs/benchmarks.md, from `docs/results/benchmarks/*.json`."""

from collections.abc import Iterator, Mapping, Sequence
import json
from pathlib import Path
from typing import Any

Row = tuple[str, str]

# One claim per benchmark: its question, the result that answers it (metric, or
# metric and end of the case, and peer), and the answer.
_CLAIMS: dict[str, tuple[str, Row, str]] = {
  "rl_step": (
    "How long does a whole RL step take?",
    ("step", "TRL"),
    "{ours:.1f} s, {ratio:.1f} times as fast as TRL's GRPO trainer",
  ),
  "train_step": (
    "How fast is one update?",
    ("train tok/s", "torch"),
    "{ours:.0f} tokens/s on full rows, {ratio:.1f} times torch with "
    "transformers",
  ),
  "overlap": (
    "What does sampling beside the updates save?",
    ("s/step", "in turn"),
    "where both take equally long, a step is {ratio:.2f} times as fast as with "
    "both in turn",
  ),
  "sampler": (
    "How fast is sampling?",
    ("useful tok/s", "transformers"),
    "{ours:.0f} useful tokens/s on responses of unequal lengths, {ratio:.1f} "
    "times transformers",
  ),
  "memory": (
    "How much memory does a training step need?",
    ("peak RSS, GiB", "torch, whole batch"),
    "{ours:.1f} GiB at its peak, {ratio:.1f} times less than torch with the "
    "whole batch",
  ),
  "selection": (
    "What does exact token selection cost?",
    ("ns/token", "torch kl"),
    "{ours:.0f} ns per token for KL-Cov, {ratio:.1f} times as fast as the rule "
    "in torch",
  ),
  "objective_overhead": (
    "What share of an update is the objective?",
    ("objective share", "limit"),
    "{ours:.3%}, against a limit of {theirs:.0%}",
  ),
  "step_compile": (
    "Do unused methods cost compile time?",
    ("CPU s to compile", "before the methods"),
    "an update takes {ours:.1f} s of processor time to compile, {theirs:.1f} s "
    "before the methods came",
  ),
  "rewards": (
    "How fast is verification?",
    ("responses/s", "math-verify, unprotected"),
    "{ours:.0f} mathematical answers/s in the sandbox, {ratio:.1f} times "
    "math-verify without one",
  ),
  "startup": (
    "How long until the first update?",
    ("s to first update", "bound"),
    "{ours:.0f} s without a compilation cache, against a limit of {theirs:.0f} "
    "s",
  ),
  "growth": (
    "Does the cost grow in proportion?",
    ("update, layer-tok/s", "8 x 64, 8 layers"),
    "twice the rows run at {ratio:.2f} times the speed per token",
  ),
  "collectives": (
    "How much more than the least possible is sent?",
    ("GiB sent", "least"),
    "{ours:.0f} GiB per 7B update over fsdp, where {theirs:.0f} GiB is the "
    "least",
  ),
  "context": (
    "What does a row over several devices cost?",
    ("GiB temporaries", "ring"),
    "{ours:.2f} GiB of temporaries, {ratio:.1f} times less than ring attention",
  ),
  "lengths": (
    "What does a longer row cost?",
    ("GiB at the peak, rows of 131,072", "in proportion"),
    "a row of 131,072 tokens takes {ours:.0f} GiB of a device at the peak, "
    "where {theirs:.0f} GiB would be in proportion to one of 8,192",
  ),
  "experts": (
    "And with a mixture of experts?",
    ("train tok/s", "torch"),
    "{ours:,.0f} tokens/s in an update of a tiny mixture, {ratio:.2f} times "
    "torch with transformers: slower, which is not mended yet",
  ),
  "weights": (
    "What does loading hold beside the model?",
    ("loading beside the model, GiB, bfloat16", "largest file"),
    "{ours:.2f} GiB, where the largest file has {theirs:.2f} GiB",
  ),
  "mismatch": (
    "How far is a sampler with int8 weights from the trainer?",
    ("nats per token, int8", "not corrected"),
    "{theirs:.1e} nats per token; importance weights leave {ours:.0e}",
  ),
  "roofline": (
    "How well is the time of a step estimated?",
    ("s a step, update", "measured"),
    "an update takes {theirs:.1f} s where {ours:.1f} s are estimated",
  ),
  "accelerator": (
    "What about a GPU?",
    ("ms, with gradient", "xla"),
    "attention takes {ours:.1f} ms on an H100, {ratio:.1f} times as fast as "
    "XLA's",
  ),
}
_NOT_MEASURED = "not measured"


def load(folder: Path) -> list[dict[str, Any]]:
  """Reads all results: benchmark, machine, and what was measured.

  Args:
    folder: holds a file per benchmark, or one of `benchmarks.run`.
  """
  return [
    result | {"benchmark": answer["name"], "where": _where(content["machine"])}
    for file in sorted(folder.glob("*.json"))
    for content in [json.loads(file.read_text())]
    for answer in content.get("benchmarks", [content])
    for result in answer["results"]
  ]


def claims(results: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
  """Returns (benchmark, question, answer) rows."""
  rows = []
  for name, (question, (metric, peer), text) in _CLAIMS.items():
    of_benchmark = [r for r in results if r["benchmark"] == name]
    answers = (
      text.format(ours=r["ours"], theirs=r["peer_value"], ratio=r["ratio"])
      for r in of_benchmark
      if _is_of(r, metric) and r["peer"] == peer
    )
    rows.append((f"`{name}`", question, next(answers, _NOT_MEASURED)))
  return rows


def _is_of(result: Mapping[str, Any], wanted: str) -> bool:
  """Whether a result has the wanted metric, or metric and end of the case."""
  metric, _, case = wanted.partition(", ")
  if wanted in result["metric"]:
    return True
  return (
    metric == result["metric"]
    and bool(case)
    and (result["case"].endswith(case))
  )


def table(results: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
  """Yields a row of text for each result."""
  for result in results:
    yield (
      result["benchmark"],
      result["case"],
      result["metric"],
      _value(result["ours"]),
      result["peer"],
      _value(result["peer_value"]),
      f"{result['ratio']:.2f}",
      _variation(result),
      f"{result['cpu_ratio']:.2f}" if result.get("cpu_ratio") else "",
      result["where"],
    )


COLUMNS = (
  *("benchmark", "case", "metric", "ours", "peer", "theirs", "ratio"),
  *("quartiles", "ratio of CPU time", "machine"),
)


def _value(value: float) -> str:
  return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _variation(result: Mapping[str, Any]) -> str:
  """Returns the quartiles of the rounds' ratios; older files have a range."""
  if quartiles := result.get("quartiles"):
    return f"{quartiles[0]:.2f}–{quartiles[1]:.2f}"
  return f"range {result['spread']:.0%}" if result["spread"] else "one round"


def _where(machine: Mapping[str, Any]) -> str:
  if machine.get("device", "cpu") != "cpu":
    return str(machine["device"])
  return f"{machine['cores']} cores, {machine['processor']}"
