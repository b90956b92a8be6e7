"""The programs of a run, as shapes on a mesh: nothing is allocated.

They are the ones that a run uses, built by the same functions from the same
config; only the arrays are missing.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from ml_collections import ConfigDict

from jaxrl_entropy import config as config_lib, sharding
from jaxrl_entropy.data import task as task_lib
from jaxrl_entropy.models import decoding, lora, transformer
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.io import checkpoints
from jaxrl_entropy.training import (
  algorithm as algorithm_lib,
  build,
  packed_batch,
)
from jaxrl_entropy.training.layout import Layout, make_layout
from jaxrl_entropy.training.learner import Learner, learner_settings
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.training.policy import run_of, teacher_path
from jaxrl_entropy.training.weights import (
  add_adapters,
  check_experts,
  preset_model,
)
from jaxrl_entropy.types import Params


@dataclasses.dataclass(frozen=True)
class Program:
  """A jitted function and the shapes it is called with.

  Attributes:
    function: made by jax.jit.
    args: trees of ShapeDtypeStruct with shardings.
    roles: its larger arguments by what they are.
    weights: the parameters that it reads in every step.
    tokens: that one call learns from or makes, on the whole mesh.
    steps: of one call that depend on each other (decode: tokens of a slot).
    slices: micro-batches of one call.
    inside: what it must hold besides its arguments, by what it is.
  """

  function: Any
  args: tuple[Any, ...]
  roles: dict[str, Any]
  weights: Params
  tokens: int
  steps: int = 1
  slices: int = 1
  inside: dict[str, Any] = dataclasses.field(default_factory=dict)


def device_bytes(tree: Any) -> int:
  """Bytes of a tree of shapes on one device, before any padding.

  Args:
    tree: `jax.ShapeDtypeStruct`s with a sharding each.
  """

  def size(leaf: jax.ShapeDtypeStruct) -> int:
    local = leaf.sharding.shard_shape(leaf.shape)
    return math.prod(local) * leaf.dtype.itemsize

  return sum(size(leaf) for leaf in jax.tree.leaves(tree))


def train(config: ConfigDict, mesh: Mesh) -> Program:
  """Returns the program of one optimizer update of one mini-batch.

  Args:
    config: of the run.
    mesh: devices, or descriptions of devices that are not there.
  """
  model = planned_model(config)
  algorithm = algorithm_lib.resolve(config)
  guide, teacher = None, None
  if "teacher_kl" in algorithm.needs:
    guide = planned_teacher(config)
    teacher = abstract_params(config, guide, mesh, adapters=False)
  forward = build.build_forward(
    config,
    model,
    algorithm.needs,
    build.build_forward(config, guide) if guide else None,
  )
  layout = make_layout(config, mesh)
  roles = build.build_roles(config, forward, algorithm.needs)
  learner = Learner(learner_settings(config), algorithm, roles, forward, layout)
  params = abstract_params(config, model, mesh)
  state = _placed(jax.eval_shape(learner.init, params, teacher), mesh)
  rows = _abstract_rows(layout, learner, model, forward.replay)
  resident = {"parameters": state.params, "optimizer moments": state.opt_state}
  return Program(
    learner.policy_update(state),
    (state, rows),
    {**resident, **state.roles, "mini-batch": rows},
    state.params,
    tokens=rows.tokens.size,
    slices=layout.micro_batches,
    inside={"gradients": lora.split(state.params)[0]},
  )


def prefill(config: ConfigDict, mesh: Mesh) -> Program:
  """Returns the sampler's pass over a chunk of the prompts.

  Args:
    config: of the run.
    mesh: the sampler's.
  """
  function, args = _of_sampler("prefill", config, mesh)
  weights, cache, chunk = args
  roles = {"sampler copy": weights, "KV cache": cache}
  return Program(function, args, roles, weights, chunk.tokens.size)


def decode(config: ConfigDict, mesh: Mesh) -> Program:
  """Returns the sampler's loop over new tokens, with all slots in use.

  Args:
    config: of the run.
    mesh: the sampler's.
  """
  function, args = _of_sampler("decode", config, mesh)
  weights, cache, _ = args
  roles = {"sampler copy": weights, "KV cache": cache}
  _, produced = jax.eval_shape(function, *args)
  size, steps = produced.draws.token.size, produced.draws.token.shape[1]
  return Program(function, args, roles, weights, size, steps)


MAKERS = {"train": train, "prefill": prefill, "decode": decode}


def _of_sampler(name: str, config: ConfigDict, mesh: Mesh) -> tuple[Any, Any]:
  """Returns a program of the sampler and the shapes of its arguments."""
  model = planned_model(config)
  replay = config.model.routing_replay
  sampler = build.build_sampler(config, model, mesh, replay)
  return sampler.programs(abstract_params(config, model, mesh))[name]


def planned_model(config: ConfigDict) -> TransformerConfig:
  """Returns the decoder that `config` names; reads neither weights nor data.

  Weights that are not on this machine are planned as `model.preset`.
  """
  if _is_local(config.model.weights):
    return _model_at(Path(config.model.weights), config)
  if config.model.tokenizer != "symbols":
    return preset_model(config, None)
  task = task_lib.resolve(config.task.name, config.task.args)
  return preset_model(config, task.tokenizer)


def planned_teacher(config: ConfigDict) -> TransformerConfig:
  """Returns the decoder of `config.teacher.weights`; reads its config alone.

  Raises:
    UserError: if there is none.
  """
  return _model_at(teacher_path(config), config)


def planned_name(config: ConfigDict) -> str:
  """Returns what `planned_model` has read, and why where it is the preset."""
  weights, preset = config.model.weights, config.model.preset
  if not weights or _is_local(weights):
    return weights or preset
  return (
    f"{preset}, the model.preset: {weights} is not on this machine; if they "
    "differ, set model.preset, or model.weights to a folder with its "
    "config.json"
  )


def _is_local(weights: str) -> bool:
  return bool(weights) and Path(weights).exists()


def _model_at(path: Path, config: ConfigDict) -> TransformerConfig:
  """Returns the decoder of a run, folder or file, in the config's dtypes."""
  if run := run_of(path):
    model = planned_model(config_lib.of_run(run.folder))
  else:
    model = checkpoints.read_config(path)
  return dataclasses.replace(model, dtype=config.model.compute_dtype)


def abstract_params(
  config: ConfigDict,
  model: TransformerConfig,
  mesh: Mesh,
  adapters: bool = True,
) -> Params:
  """Returns the shapes of a model's master parameters on `mesh`.

  Args:
    config: of the run; `model` has the dtype and the rank of adapters.
    model: the decoder.
    mesh: to lay the parameters out on.
    adapters: whether with those of the policy, if the config has any.
  """
  settings = config.model
  check_experts(model, mesh)

  def init() -> Params:
    key = jax.random.key(0)
    params = transformer.init(model, key)
    params = jax.tree.map(lambda x: x.astype(settings.param_dtype), params)
    return add_adapters(params, model, config) if adapters else params

  return _placed(jax.eval_shape(init), mesh)


def _placed(tree: Any, mesh: Mesh) -> Any:
  """Shapes with the shardings that parameters and their moments have."""
  shardings = sharding.param_shardings(tree, mesh)
  return jax.tree.map(
    lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
    tree,
    shardings,
  )


def _abstract_rows(
  layout: Layout, learner: Learner, model: TransformerConfig, replay: bool
) -> Rows:
  """Returns a mini-batch of full rows, [micro-batches, rows, tokens]."""
  micro, mesh = layout.micro_batches, layout.mesh
  count = packed_batch.row_capacity(learner.responses, micro, mesh)
  shape = (micro, count // micro, layout.row_length)
  where = NamedSharding(mesh, P(None, sharding.ROWS, "context"))

  def array(dtype: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=where)

  routes: Any = None
  if replay:
    chosen = model.num_layers, model.num_experts_per_tok
    routes = jax.ShapeDtypeStruct(
      (*shape, *chosen), decoding.route_dtype(model), sharding=where
    )
  embedding: Any = None
  if "embedding" in learner.signals:
    embedding = jax.ShapeDtypeStruct(
      (micro, learner.responses, model.hidden_size),
      jnp.float32,
      sharding=sharding.replicated(mesh),
    )
  fields = ("tokens", "positions", "segments", "response", "index")
  return Rows(
    **{name: array(jnp.int32) for name in fields},
    mask=array(jnp.bool_),
    signals={
      name: array(jnp.float32)
      for name in sorted(learner.signals - {"embedding"})
    },
    routes=routes,
    embedding=embedding,
  )
