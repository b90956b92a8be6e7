"""Metrics files with known truths, in the format that training writes."""

import json
import pathlib

import numpy as np

A, B = 0.6, 1.3


def write_run(
  workdir: pathlib.Path,
  loss: str = "grpo",
  *,
  advantage: str = "grpo",
  seed: int = 0,
  steps: int = 160,
  start: float = 0.5,
  floor: float = 0.08,
  bonus: float = 0.0,
  noise: float = 0.004,
  settings: dict | None = None,
  controllers: dict | None = None,
  extra: dict | None = None,
) -> pathlib.Path:
  """A run whose accuracy follows the law, `bonus` above it at the end.

  `settings` are the loss's arguments, `controllers` what drives them; `extra`
  is added to every record.
  """
  rng = np.random.default_rng([seed, len(loss)])
  workdir.mkdir(parents=True, exist_ok=True)
  config = {
    "name": workdir.name,
    "seed": seed,
    "loss": {
      "name": loss,
      "args": settings or {},
      "controllers": controllers or {},
    },
    "advantage": {"name": advantage},
  }
  (workdir / "config.json").write_text(json.dumps(config))
  entropy = floor + (start - floor) * np.exp(-np.arange(steps + 1) / 25)
  records = [
    _record(rng, entropy, step, steps, bonus, noise) | (extra or {})
    for step in range(steps)
  ]
  if loss != "grpo":
    for record in records:
      record["select/share"] = 0.01
  lines = "".join(json.dumps(record) + "\n" for record in records)
  (workdir / "metrics.jsonl").write_text(lines)
  return workdir


def _record(rng, entropy, step, steps, bonus, noise):
  drop = entropy[step] - entropy[step + 1]
  accuracy = B - A * np.exp(entropy[step]) + bonus * step / steps
  record = {
    "step": step,
    "time": 1.0 * step,
    "entropy/token_mean": entropy[step] + noise * rng.normal() / 10,
    "reward/accuracy": accuracy + 3 * noise * rng.normal(),
    "response/length": 9.0 + 0.1 * rng.normal(),
    "cov/mean": 3 * drop + 0.001 * rng.normal(),
    "cov/filtered_mean": 3 * drop + 0.01 * rng.normal(),
  }
  for percent, scale in zip(
    ("0.02", "0.2", "2", "20", "50"), (3, 2, 1, 0.2, 0.05), strict=True
  ):
    record[f"cov/top_{percent}pct_mean"] = scale
  if step % 3:
    record["probe/delta_entropy"] = -drop + noise * rng.normal() / 100
    record["probe/minus_cov"] = -drop / 0.86
  if step % 10 == 0 or step == steps - 1:
    record["eval/held_out/accuracy"] = accuracy + noise * rng.normal()
    record["eval/held_out/greedy"] = accuracy + 0.07
    record["eval/held_out/pass@1"] = record["eval/held_out/accuracy"]
    record["eval/held_out/pass@4"] = accuracy + 0.1
  return record


def read(run: pathlib.Path) -> list[dict]:
  """Reads the records of a run."""
  lines = (run / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def rewrite(run: pathlib.Path, records: list[dict]) -> None:
  """Replaces the records of a run."""
  lines = "".join(json.dumps(record) + "\n" for record in records)
  (run / "metrics.jsonl").write_text(lines)


SAMPLE = {
  "step": 20,
  "problem": "17",
  "prompt": "What is 6 + 6?",
  "tokens": ["6", " + 6 = ", "<12>", "\n"],
  "reward": 1.0,
  "correct": True,
  "logp": [-0.1, -2.5, -0.01, None],
  "entropy": [0.2, 1.5, 0.05, 0.0],
  "covariance": [0.01, -0.8, 0.002, 0.0],
  "selected": {"top covariance": [0, 1, 0, 0], "top entropy": [0, 1, 1, 0]},
}


def write_study(folder: pathlib.Path) -> pathlib.Path:
  """GRPO, Clip-Cov and KL-Cov from one start, as the quick start writes."""
  write_run(folder / "grpo")
  write_run(folder / "clip_cov", "clip_cov", floor=0.21, bonus=0.03)
  write_run(folder / "kl_cov", "kl_cov", floor=0.15, bonus=0.01)
  return folder
