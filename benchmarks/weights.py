"""Host memory and time of loading and exporting models of real widths.

    python -m benchmarks.weights --quick
    python -m benchmarks.weights --full --json weights.json

One layer of Qwen3-30B-A3B, and with `--full` one of Llama-3.1-70B, with few
tokens of vocabulary, in bfloat16 files of at most 1 GiB. Memory is what the
process holds beside the model itself, against the largest file; on CPU that
counts the copy that an accelerator would hold. Time is that of eight readers
against one, with the files in the page cache.
"""

import concurrent.futures
import contextlib
import functools
from pathlib import Path
import re
import shutil
import sys
import tempfile
import threading
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from benchmarks.common import Result
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.models.io import checkpoints, export

GIB = 1 << 30
SHARD_BYTES = 1 << 30
SMALL = {"num_layers": 1, "vocab_size": 1024}
MODELS = {
  "30B-A3B": preset("qwen3-30b-a3b", **SMALL),
  "70B": preset(
    "llama3.1-8b",
    **SMALL,
    hidden_size=8192,
    intermediate_size=28672,
    num_heads=64,
  ),
}


def write(name: str, folder: Path) -> None:
  """Writes a model whose rows are all one random row."""
  config = MODELS[name]
  shapes = jax.eval_shape(
    functools.partial(transformer.init, config), jax.random.key(0)
  )
  rng = np.random.default_rng(0)

  def fill(leaf: jax.ShapeDtypeStruct) -> jax.Array:
    row = jnp.asarray(rng.normal(size=leaf.shape[-1]), jnp.bfloat16)
    return jnp.broadcast_to(row, leaf.shape)

  params = jax.tree.map(fill, shapes)
  export.save(folder, config, params, shard_bytes=SHARD_BYTES)


class Peak(contextlib.AbstractContextManager):
  """Measures the most anonymous memory of this process in its body, bytes."""

  def __enter__(self) -> "Peak":
    self._stop, self.before = threading.Event(), _anonymous()
    self.most = self.before
    self._thread = threading.Thread(target=self._watch)
    self._thread.start()
    return self

  def __exit__(self, *exception: object) -> None:
    self._stop.set()
    self._thread.join()

  def _watch(self) -> None:
    while not self._stop.wait(0.002):
      self.most = max(self.most, _anonymous())

  @property
  def growth(self) -> int:
    return self.most - self.before


def _anonymous() -> int:
  status = Path("/proc/self/status").read_text()
  return 1024 * int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0])


def peaks(folder: str, target: str) -> str:
  """Returns the bytes beside the model while it is loaded, and exported."""
  with Peak() as loading:
    config, params = checkpoints.load(folder, dtype="bfloat16")
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
  with Peak() as saving:
    export.save(target, config, params, shard_bytes=SHARD_BYTES)
  return f"{loading.growth - size},{saving.growth}"


def load_seconds(folder: Path, readers: int) -> float:
  """Returns the time of a load with this many readers."""
  pool = concurrent.futures.ThreadPoolExecutor(readers)
  old, checkpoints.READERS = checkpoints.READERS, pool
  try:
    start = time.perf_counter()
    jax.block_until_ready(checkpoints.load(folder, dtype="bfloat16")[1])
    return time.perf_counter() - start
  finally:
    checkpoints.READERS = old


def measure(name: str, folder: Path) -> list[Result]:
  """Returns the comparisons of one model."""
  source, target = folder / "source", folder / "target"
  write(name, source)
  code = (
    "from benchmarks import weights\n"
    f"peaks = weights.peaks({str(source)!r}, {str(target)!r})\n"
    "loading, saving = map(int, peaks.split(','))\n"
    "value = {}"
  )
  # A process each: neither sees what the other has freed.
  loading, saving = (
    common.fresh_process(_leaving(code, target, value))[0]
    for value in ("loading", "saving")
  )
  largest = max(f.stat().st_size for f in source.glob("*.safetensors"))
  case = f"one layer of {name}, bfloat16"
  memory = [
    Result(
      *(case, f"{what} beside the model, GiB", held / GIB),
      *("largest file", largest / GIB, largest / max(held, 1)),
    )
    for what, held in (("loading", loading), ("export", saving))
  ]
  measured = common.alternate(
    {
      "8 readers": lambda: load_seconds(source, 8),
      "1 reader": lambda: load_seconds(source, 1),
    },
    rounds=3,
  )
  times = common.compare(
    *(case, "load, s", measured.values, "8 readers"),
    cpu=measured.cpu,
    higher_is_better=False,
  )
  return memory + times


def _leaving(code: str, target: Path, value: str) -> str:
  shutil.rmtree(target, ignore_errors=True)
  return code.format(value)


def main() -> None:
  if not sys.platform.startswith("linux"):
    common.skip("Linux's /proc", "run it on Linux")
    return
  args: Any = common.arguments(__doc__)
  results = []
  for name in list(MODELS)[: 1 if args.quick else None]:
    with tempfile.TemporaryDirectory() as folder:
      results += measure(name, Path(folder))
  common.report("weights", results, args.json)


if __name__ == "__main__":
  main()
