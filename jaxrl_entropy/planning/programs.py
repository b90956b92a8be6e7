"""The programs of a run, as shapes on a mesh: nothing is allocated.

They are the ones that a run uses, built by the same functions from the same
config; only the arrays are missing.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from ml_collections import ConfigDict

from jaxrl_entropy import sharding
from jaxrl_entropy.data import problems
from jaxrl_entropy.losses import alias
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.training import build, rows as rows_lib, state as state_lib
from jaxrl_entropy.training.step import Rows, make_update
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
  """

  function: Any
  args: tuple[Any, ...]
  roles: dict[str, Any]
  weights: Params
  tokens: int
  steps: int = 1
  slices: int = 1


def device_bytes(tree: Any) -> int:
  """Bytes of a tree of shapes on one device, before any padding."""

  def size(leaf: jax.ShapeDtypeStruct) -> int:
    local = leaf.sharding.shard_shape(leaf.shape)
    return math.prod(local) * leaf.dtype.itemsize

  return sum(size(leaf) for leaf in jax.tree.leaves(tree))


def train(config: ConfigDict, mesh: Mesh) -> Program:
  """One optimiser update of one mini-batch."""
  model = planned_model(config)
  updates = config.steps * config.optimizer.updates
  schedule = state_lib.learning_rate(config.optimizer, updates)
  optimizer = state_lib.make_optimizer(config.optimizer, schedule)
  state = _placed(
    jax.eval_shape(
      lambda params: state_lib.init_state(params, optimizer, config.seed, mesh),
      abstract_params(config, model, mesh),
    ),
    mesh,
  )
  objective = alias.resolve(config.loss.name, config.loss.args)
  responses = -(-config.rollout.groups // config.optimizer.updates)
  responses *= config.rollout.responses
  update = make_update(
    lambda _: objective,
    optimizer,
    build.build_forward(config, model),
    jax.tree.map(lambda x: x.sharding, state),
    scope=config.loss.scope,
    num_responses=responses,
    max_length=config.rollout.max_response_length,
  )
  rows = _abstract_rows(config, objective.needs, responses, mesh)
  roles = {
    "parameters": state.params,
    "optimizer moments": state.opt_state,
    "mini-batch": rows,
  }
  return Program(
    update,
    (state, rows),
    roles,
    state.params,
    tokens=rows.tokens.size,
    slices=rows.tokens.shape[0],
  )


def prefill(config: ConfigDict, mesh: Mesh) -> Program:
  """The sampler's pass over a chunk of the prompts."""
  function, args = _of_sampler("prefill", config, mesh)
  weights, cache, chunk = args
  roles = {"sampler copy": weights, "KV cache": cache}
  return Program(function, args, roles, weights, chunk.tokens.size)


def decode(config: ConfigDict, mesh: Mesh) -> Program:
  """The sampler's loop over new tokens, with all slots in use."""
  function, args = _of_sampler("decode", config, mesh)
  weights, cache, _ = args
  roles = {"sampler copy": weights, "KV cache": cache}
  _, produced = jax.eval_shape(function, *args)
  size, steps = produced.draws.token.size, produced.draws.token.shape[1]
  return Program(function, args, roles, weights, size, steps)


MAKERS = {"train": train, "prefill": prefill, "decode": decode}


def _of_sampler(name: str, config: ConfigDict, mesh: Mesh) -> tuple[Any, Any]:
  """A program of the sampler and the shapes it is called with."""
  model = planned_model(config)
  sampler = build.build_sampler(config, model, mesh)
  return sampler.programs(abstract_params(config, model, mesh))[name]


def planned_model(config: ConfigDict) -> TransformerConfig:
  """The decoder that `config` names; no weights and no data are read."""
  if config.model.tokenizer != "symbols":
    return build.preset_model(config, None)
  task = problems.resolve(config.task.name, config.task.args)
  return build.preset_model(config, task.tokenizer)


def abstract_params(
  config: ConfigDict, model: TransformerConfig, mesh: Mesh
) -> Params:
  """The shapes of the policy's master parameters on `mesh`."""

  def init() -> Params:
    params = transformer.init(model, jax.random.key(0))
    return jax.tree.map(lambda x: x.astype(config.model.param_dtype), params)

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
  config: ConfigDict, needs: frozenset[str], responses: int, mesh: Mesh
) -> Rows:
  """A mini-batch of full rows, [micro-batches, rows, tokens]."""
  micro = config.optimizer.micro_batches
  count = rows_lib.row_capacity(responses, micro, mesh)
  shape = (micro, count // micro, build.row_length(config))
  where = NamedSharding(mesh, P(None, sharding.ROWS, "context"))

  def array(dtype: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=where)

  fields = ("tokens", "positions", "segments", "response", "index")
  computed = {"entropy", "sum_p2", "sum_p2_logp", "values"}
  signals = {"advantages", "old_logp", *needs - computed}
  return Rows(
    **{name: array(jnp.int32) for name in fields},
    mask=array(jnp.bool_),
    signals={name: array(jnp.float32) for name in sorted(signals)},
  )
