"""Compile time of an update, against the tree before the methods of the field.

    python -m benchmarks.step_compile --quick
    python -m benchmarks.step_compile --full --json step_compile.json

Methods that use none of the fields and parts that came later should not pay for
them. Two processes, one of each tree, compile the same update in turns, without
any cache; the times are of the processor. The older tree is taken from the git
history of this checkout.
"""

from collections.abc import Iterator
import contextlib
import os
from pathlib import Path
import subprocess
import sys
import tempfile

from benchmarks import common
from benchmarks.common import Result

BEFORE = "6e3d2824e2b14af0a7e9a4ee04b6cd4f31f0f771"
"""The last commit before the methods."""
ROOT = Path(__file__).parents[1]
# Reads a line, compiles, and answers with the seconds; runs in both trees.
_WORKER = """
import sys, time
import jax
from benchmarks.train_step import OPTIMIZER, Setup
from jaxrl_entropy import objectives
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.training.forward import Forward
from jaxrl_entropy.training.update import make_update

model = preset("tiny")
setup = Setup(8, 2, model=model, length=64)
shapes = setup.shapes()
update = make_update(
  lambda _: objectives.resolve(sys.argv[1]), OPTIMIZER, Forward(model), None,
  num_responses=8, max_length=64,
)
for _ in sys.stdin:
  jax.clear_caches()
  start = time.process_time()
  update.lower(*shapes).compile()
  print(time.process_time() - start, flush=True)
"""


@contextlib.contextmanager
def worker(tree: Path, method: str) -> Iterator[subprocess.Popen[str]]:
  """Yields a process that compiles an update of `tree` for each line."""
  environment = {"PYTHONPATH": str(tree), "JAX_ENABLE_COMPILATION_CACHE": "0"}
  with subprocess.Popen(
    (sys.executable, "-c", _WORKER, method),
    cwd=tree,
    env=os.environ | environment,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    yield process
    process.stdin.close()


def compile_once(process: subprocess.Popen[str]) -> float:
  """Returns the processor seconds of one compilation."""
  process.stdin.write("\n")
  process.stdin.flush()
  return float(process.stdout.readline())


def measure(before: Path, method: str, rounds: int) -> list[Result]:
  """Returns the comparison for one method."""
  with worker(ROOT, method) as ours, worker(before, method) as theirs:
    turns = {
      "ours": lambda: compile_once(ours),
      "before the methods": lambda: compile_once(theirs),
    }
    values = common.alternate(turns, rounds).values
  return common.compare(
    f"update, {method}",
    "CPU s to compile",
    values,
    "ours",
    higher_is_better=False,
  )


def main() -> None:
  args = common.arguments(__doc__)
  methods = ("grpo", "kl_cov") if args.quick else ("grpo", "kl_cov", "clip_cov")
  with tempfile.TemporaryDirectory() as folder:
    archive = subprocess.run(
      ("git", "-C", str(ROOT), "archive", BEFORE),
      stdout=subprocess.PIPE,
      check=True,
    )
    subprocess.run(
      ("tar", "-x", "-C", folder), input=archive.stdout, check=True
    )
    results = [
      result
      for method in methods
      for result in measure(Path(folder), method, 7 if args.quick else 15)
    ]
  common.report("step_compile", results, args.json)


if __name__ == "__main__":
  main()
