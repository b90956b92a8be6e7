"""The train state that one optimizer update passes to the next."""

from collections.abc import Callable
from typing import Any
import zlib

from flax import struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Int, Key
from ml_collections import ConfigDict
import numpy as np
import optax

from jaxrl_entropy import sharding
from jaxrl_entropy.models import lora
from jaxrl_entropy.types import Params

TEACHER = "teacher"


class TrainState(struct.PyTreeNode):
  """Everything that decides the numbers of the updates to come.

  Attributes:
    params: the policy, float32 masters in the training layout.
    opt_state: the optimizer's moments.
    update: optimizer updates tried so far, skipped ones included.
    skipped: updates in a row dropped for a loss or gradient not finite.
    key: root of every random draw; only `use_key` draws from it.
    roles: parameters (and optimizer states) of the other models by name. Those
      of `TEACHER`, toward which the policy is drawn, never change: no
      checkpoint holds them.
    controller: state of the coefficient controllers.
    lookahead: state of the gate of updates that look ahead.
  """

  params: Params
  opt_state: Any
  update: Int[Array, ""]
  skipped: Int[Array, ""]
  key: Key[Array, ""]
  roles: dict[str, Any] = struct.field(default_factory=dict)
  controller: Any = ()
  lookahead: Any = ()


def learning_rate(config: ConfigDict, updates: int) -> optax.Schedule:
  """Returns the schedule of `config.optimizer` over `updates` updates.

  Args:
    config: the `optimizer` section.
    updates: optimizer updates of the whole run, warm-up included.

  Returns:
    Optimizer updates so far -> the learning rate.

  Raises:
    ValueError: for an unknown schedule.
  """
  peak, warmup = config.learning_rate, config.warmup_steps
  decays: dict[str, Callable[[], optax.Schedule]] = {
    "constant": lambda: optax.constant_schedule(peak),
    "cosine": lambda: optax.cosine_decay_schedule(peak, updates - warmup),
    "linear": lambda: optax.linear_schedule(peak, 0.0, updates - warmup),
  }
  if config.schedule not in decays:
    raise ValueError(
      f"optimizer.schedule is {config.schedule!r}; use one of {list(decays)}"
    )
  rise = optax.linear_schedule(0.0, peak, warmup)
  return optax.join_schedules([rise, decays[config.schedule]()], [warmup])


def make_optimizer(
  config: ConfigDict, schedule: optax.Schedule
) -> optax.GradientTransformation:
  """Returns `config.optimizer.name` along `schedule` behind gradient clipping.

  The clip is by global norm; `grad_clip=0` turns it off.

  Args:
    config: the `optimizer` section.
    schedule: learning rate by optimizer update.

  Raises:
    ValueError: for an unknown optimizer.
  """
  if config.name == "adamw":
    core = optax.adamw(
      schedule,
      b1=config.b1,
      b2=config.b2,
      eps=config.eps,
      weight_decay=config.weight_decay,
    )
  elif config.name == "sgd":
    core = optax.sgd(schedule)
  else:
    raise ValueError(f"optimizer.name is {config.name!r}; use 'adamw' or 'sgd'")
  if not config.grad_clip:
    return core
  return optax.chain(optax.clip_by_global_norm(config.grad_clip), core)


def init_state(
  params: Params,
  optimizer: optax.GradientTransformation,
  seed: int,
  mesh: Mesh,
  roles: dict[str, Any] | None = None,
  controller: Any = (),
  lookahead: Any = (),
) -> TrainState:
  """Returns a fresh state around `params`, laid out on `mesh`.

  Args:
    params: the model's parameters; the optimizer sees the trained part alone,
      see `lora.split`.
    optimizer: makes the moments.
    seed: of the root key of all random draws.
    mesh: devices that hold the state.
    roles: states or parameters of other models by name.
    controller: state of the coefficient controllers.
    lookahead: state of the gate of updates that look ahead.
  """

  def build(params: Params, roles: dict[str, Any]) -> TrainState:
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
      params=params,
      opt_state=optimizer.init(lora.split(params)[0]),
      update=zero,
      skipped=zero,
      key=jax.random.key(seed),
      roles=roles,
      controller=controller,
      lookahead=lookahead,
    )

  models = (params, roles or {})
  shardings = sharding.param_shardings(jax.eval_shape(build, *models), mesh)
  return jax.jit(build, out_shardings=shardings)(*models)


def use_key(
  key: Key[Array, ""], use: str, *counters: int | Array
) -> Key[Array, ""]:
  """Returns the key of one use of the run's key, distinct for all counters.

  Args:
    key: the root key of a `TrainState`.
    use: name of what is drawn.
    *counters: integers that tell its draws apart, such as the update.
  """
  for counter in (zlib.crc32(use.encode()), *counters):
    key = jax.random.fold_in(key, counter)
  return key


def host_seeds(
  key: Key[Array, ""], use: str, *counters: int, count: int = 1
) -> list[int]:
  """Returns seeds of 31 bits for random draws on the host.

  Args:
    key: the root key of a `TrainState`.
    use: name of what is drawn, see `use_key`.
    *counters: integers that tell its draws apart, such as the step.
    count: how many seeds.
  """
  key = use_key(key, use, *counters)
  return [int(x) >> 1 for x in np.asarray(jax.random.bits(key, (count,)))]
