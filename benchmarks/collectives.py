r"""Traffic of the compiled train step, against the least possible.

    python -m benchmarks.collectives --quick
    python -m benchmarks.collectives --full \
        --json docs/results/benchmarks/collectives.json

Qwen2.5-7B, one KL-Cov update on a v5e-16, compiled without a TPU (pip install
libtpu). `--full` compiles as a run would, `--quick` with low effort.

The least, for this mesh and these micro-batches, per device and update:

* the layers' weights are gathered over fsdp in bfloat16 for the planning
  forward, the forward, and the backward of every micro-batch, and the head's
  once, as each device keeps a copy;
* the layers' gradients are scattered over fsdp in bfloat16 after every
  micro-batch, as no device has room for all of them, and the head's once, in
  float32;
* activations are added over tensor twice a layer in each of the two forwards
  and in the backward, and once in the recomputation.

Ring algorithms: a gather or a scatter over n devices sends (n - 1) / n of the
whole, an addition twice that. Everything else (embeddings, norms, the
objective, the optimizer) counts as waste.
"""

from collections.abc import Mapping
import math

import jax

from benchmarks import common
from benchmarks.common import Result
from jaxrl_entropy import config as config_lib, sharding
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import TransformerConfig, preset
from jaxrl_entropy.planning import compiling, topology
from jaxrl_entropy.planning.compiling import Task

CONFIG, SLICE = "configs/qwen2_5_7b_kl_cov.py", "v5e-16"
FORWARDS = 2
"""Passes over the layers before the backward: planning, and its own."""
LIMIT = 1500  # seconds of compilation


def least(
  model: TransformerConfig,
  mesh: Mapping[str, int],
  rows: int,
  length: int,
  slices: int,
) -> dict[str, float]:
  """Bytes that a device must send over each axis for one update.

  Args:
    model: the decoder.
    mesh: size of each axis.
    rows: of a micro-batch on one device.
    length: tokens of a row.
    slices: micro-batches.
  """
  fsdp, tensor = mesh["fsdp"], mesh["tensor"]
  shapes = jax.eval_shape(lambda: transformer.init(model, jax.random.key(0)))
  layers = sum(x.size for x in jax.tree.leaves(shapes["layers"])) / tensor
  head = math.prod(shapes["embed"]["embedding"].shape) / tensor
  once = (2 + 4) * head
  gathered, scattered = (FORWARDS + 1) * 2 * layers, 2 * layers
  additions = (2 * FORWARDS + 1 + 2) * model.num_layers
  stream = 2 * rows * length * model.hidden_size
  return {
    "fsdp": (slices * (gathered + scattered) + once) * (fsdp - 1) / fsdp,
    "tensor": slices * additions * stream * 2 * (tensor - 1) / tensor,
  }


def measure(low_effort: bool) -> list[Result]:
  config = config_lib.load(CONFIG)
  slice_ = topology.parse(SLICE)
  mesh = sharding.axis_sizes(slice_.devices, **config.mesh)
  slices = config.optimizer.micro_batches
  responses = config.rollout.train_groups * config.rollout.group_size
  rows = responses // config.rollout.num_minibatches // slices // mesh["fsdp"]
  length = config.rollout.max_prompt_length + config.rollout.max_response_length
  minimum = least(preset(config.model.preset), mesh, rows, length, slices)

  task = Task(CONFIG, (), SLICE, "train", low_effort=low_effort)
  compiled = compiling.compile_apart(task, LIMIT)
  if compiled.collectives is None:
    raise SystemExit(f"train step: {compiled.status} {compiled.message}")
  sent = {
    axis: sum(c["bytes"] for c in compiled.collectives if axis in c["axes"])
    for axis in minimum
  }
  sent["all axes"] = sum(c["bytes"] for c in compiled.collectives)
  minimum["all axes"] = sum(minimum.values())
  return [
    Result(
      f"7B, {SLICE}, over {axis}",
      "GiB sent",
      sent[axis] / 2**30,
      "least",
      minimum[axis] / 2**30,
      minimum[axis] / sent[axis],
    )
    for axis in sent
  ]


def main() -> None:
  args = common.arguments(__doc__)
  if not compiling.has_compiler():
    raise SystemExit("the compiler for TPUs is missing: pip install libtpu")
  common.report("collectives", measure(args.quick), args.json)


if __name__ == "__main__":
  main()
