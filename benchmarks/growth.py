"""Growth of cost with the load, against proportional growth.

    python -m benchmarks.growth --quick
    python -m benchmarks.growth --full --json growth.json

Updates and samples of a decoder as wide as SmolLM2-135M with 8 layers, in
float32: twice the rows, the tokens of a row, or the layers, against the same
program at its base size in the same run. The ratio compares rates (tokens, or
tokens times layers, a second): 1 is proportional growth, and the target is 0.9
or more. Compiling is compared in seconds: 1 says that it does not grow at all.

The devices are fakes that share this machine's cores, and the load is the same
for any number of them. So this shows what splitting the work costs, never what
more devices would gain: 1 says that it is free.
"""

from collections.abc import Callable, Mapping
import dataclasses
import os

import jax
from jax.sharding import Mesh
import numpy as np
import optax

from benchmarks import common
from benchmarks.common import Result, seconds
from jaxrl_entropy import objectives, sharding
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import TransformerConfig, preset
from jaxrl_entropy.sampling.sampler import Request, Sampler
from jaxrl_entropy.training import packed_batch
from jaxrl_entropy.training.forward import Forward
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.training.state import init_state
from jaxrl_entropy.training.update import make_update

PROMPT = 16
OPTIMIZER = optax.adamw(1e-6)


@dataclasses.dataclass(frozen=True)
class Size:
  """Amount of work in one measurement.

  Attributes:
    rows: responses.
    length: tokens of each, its prompt included.
    layers: of the model.
    devices: that share it.
  """

  rows: int
  length: int
  layers: int = 8
  devices: int = 1

  @property
  def work(self) -> int:
    return self.rows * self.length * self.layers

  @property
  def mesh(self) -> Mesh:
    return sharding.make_mesh(fsdp=-1, devices=jax.devices()[: self.devices])

  @property
  def model(self) -> TransformerConfig:
    return dataclasses.replace(
      preset("smollm2-135m"), num_layers=self.layers, vocab_size=4096
    )

  def prompts(self) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(4096, size=PROMPT) for _ in range(self.rows)]

  def batch(self) -> Rows:
    """Returns one mini-batch on the mesh."""
    rng = np.random.default_rng(1)
    responses = rng.integers(4096, size=(self.rows, self.length - PROMPT))
    rows = packed_batch.fill_rows(
      self.prompts(),
      list(responses),
      packed_batch.one_per_row(self.rows),
      rows=self.rows,
      length=self.length,
    )
    signals = {
      "advantages": rng.normal(size=responses.shape),
      "old_logp": np.full(responses.shape, -8.3),
    }
    return packed_batch.put(
      packed_batch.with_signals(rows, signals), 1, self.mesh
    )


class Updates:
  """Optimizer updates of one size."""

  def __init__(self, size: Size):
    self._size, self._rows = size, size.batch()
    with jax.set_mesh(size.mesh):
      params = transformer.init(size.model, jax.random.key(0))
      self._state = init_state(params, OPTIMIZER, 0, size.mesh)
    self._update = make_update(
      lambda _: objectives.resolve("grpo"),
      OPTIMIZER,
      Forward(size.model),
      sharding.param_shardings(self._state, size.mesh),
      num_responses=size.rows,
      max_length=size.length,
    )

  def rate(self) -> float:
    """Layer-tokens a second of one update."""

    def run() -> None:
      self._state, _ = jax.block_until_ready(
        self._update(self._state, self._rows)
      )

    with jax.set_mesh(self._size.mesh):
      return self._size.work / seconds(run)

  def temporaries(self) -> float:
    """Bytes of a device that one update needs besides its arguments."""
    with jax.set_mesh(self._size.mesh):
      compiled = self._update.lower(self._state, self._rows).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  def compile_time(self) -> float:
    """Seconds of XLA, nothing of it remembered."""
    jax.clear_caches()
    with jax.set_mesh(self._size.mesh):
      lowered = self._update.lower(self._state, self._rows)
      return seconds(lowered.compile)


class Samples:
  """Rollouts of one size, every row at once."""

  def __init__(self, size: Size):
    self._size = size
    self._params = transformer.init(size.model, jax.random.key(0))
    self._sampler = Sampler(
      size.model,
      size.mesh,
      slots=size.rows,
      max_prompt_length=PROMPT,
      max_length=size.length,
    )
    self._requests = [
      Request(prompt, max_tokens=size.length - PROMPT, seed=seed)
      for seed, prompt in enumerate(size.prompts())
    ]

  def rate(self) -> float:
    """Layer-tokens a second."""
    spent = seconds(
      lambda: self._sampler.generate(self._params, self._requests)
    )
    return self._size.work / spent


def against_base(
  metric: str,
  measures: Mapping[str, Callable[[], float]],
  rounds: int,
  *,
  higher_is_better: bool = True,
) -> list[Result]:
  """Compares each case with the first; all take turns."""
  base, *cases = measures
  measured = common.alternate(measures, rounds)
  return [
    result
    for case in cases
    for result in common.compare(
      case,
      metric,
      {name: measured.values[name] for name in (case, base)},
      case,
      higher_is_better=higher_is_better,
    )
  ]


def doubled(size: Size, fields: tuple[str, ...]) -> dict[str, Size]:
  """Yields the size itself, and one with each of its fields doubled."""
  name = f"{size.rows} x {size.length}, {size.layers} layers"
  twice = {
    f"2 x {field}": dataclasses.replace(size, **{field: 2 * value})
    for field, value in dataclasses.asdict(size).items()
    if field in fields
  }
  return {name: size, **twice}


def measure(size: Size, rounds: int) -> list[Result]:
  sizes = doubled(size, ("rows", "length", "layers"))
  updates = {name: Updates(each) for name, each in sizes.items()}
  rates = {name: each.rate for name, each in updates.items()}
  results = against_base("update, layer-tok/s", rates, rounds)
  compiles = {
    name: updates[name].compile_time for name in doubled(size, ("layers",))
  }
  results += against_base("s to compile", compiles, 2, higher_is_better=False)
  del updates, rates, compiles
  samples = {
    name: Samples(each).rate
    for name, each in doubled(size, ("rows", "length")).items()
  }
  results += against_base("sampling, layer-tok/s", samples, rounds)
  del samples
  devices = {
    f"{count} device{'s' * (count > 1)}": Updates(
      dataclasses.replace(size, devices=count)
    ).rate
    for count in (1, 2, 4, 8)
  }
  return results + against_base("update, layer-tok/s", devices, rounds)


def main() -> None:
  args = common.arguments(__doc__)
  # Read when JAX first looks for devices.
  os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
  jax.config.update("jax_enable_compilation_cache", False)
  size, rounds = (Size(8, 64), 7) if args.quick else (Size(16, 128), 15)
  common.report("growth", measure(size, rounds), args.json)


if __name__ == "__main__":
  main()
