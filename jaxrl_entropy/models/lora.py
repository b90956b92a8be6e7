"""Low-rank adapters (LoRA, 2106.09685): `x W + x A B`, with W frozen.

An adapter is two more leaves beside a kernel, so the same tree and the same
forward pass serve a model with and without them. Each expert has its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any
import zlib

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from jaxrl_entropy.models import prefix
from jaxrl_entropy.types import Params

TARGETS = (
  "q_proj",
  "k_proj",
  "v_proj",
  "o_proj",
  "gate_proj",
  "up_proj",
  "down_proj",
)


def add(
  params: Params, rank: int, targets: Sequence[str], key: Key[Array, ""]
) -> Params:
  """Returns `params` with float32 adapters that change nothing yet (B = 0).

  Args:
    params: a model's parameters, or any part of them.
    rank: width of the adapters, at least 1.
    targets: names of the projections that get one, among `TARGETS`.
    key: draws each A, with a key of its own for each module.

  Raises:
    ValueError: for a rank below 1, or a target that is no projection.
  """
  unknown = set(targets) - set(TARGETS)
  if rank < 1 or unknown:
    raise ValueError(
      f"lora rank {rank} and targets {sorted(targets)}: the rank must be at "
      f"least 1 and the targets among {', '.join(TARGETS)}"
    )

  def adapt(path: str, node: Mapping[str, Any]) -> Params:
    name = path.rpartition("/")[2]
    if "kernel" in node and name in targets:
      return {**node, **_adapter(path, node["kernel"], rank, key)}
    return {
      name: adapt(f"{path}/{name}", child)
      if isinstance(child, Mapping)
      else child
      for name, child in node.items()
    }

  return adapt("", params)


def merged(params: Params) -> Params:
  """Returns the same model without adapters: each kernel plus its A B."""
  if "lora_a" in params:
    update = params["lora_a"] @ params["lora_b"]
    kernel = params["kernel"]
    rest = {k: v for k, v in params.items() if not k.startswith("lora_")}
    return {**rest, "kernel": kernel + update.astype(kernel.dtype)}
  return {
    name: merged(child) if isinstance(child, Mapping) else child
    for name, child in params.items()
  }


def split(params: Params) -> tuple[Params, Params]:
  """Splits parameters into those that are trained and the frozen rest.

  Only adapters and a soft prefix (`models.prefix`) are trained if there are
  any; otherwise everything is.

  Args:
    params: a model's parameters, or any part of them.
  """
  adapters, rest = _split(params)
  return (adapters, rest) if adapters else (params, {})


def join(trained: Params, frozen: Params) -> Params:
  """Joins the two results of `split`.

  Args:
    trained: what was added, or all parameters where nothing was.
    frozen: the rest of the same tree; {} where everything is trained.

  Returns:
    The whole tree, with the arrays themselves and no copies.
  """
  both = {**frozen, **trained}
  return {
    name: join(child, frozen[name])
    if isinstance(child, Mapping) and name in trained and name in frozen
    else child
    for name, child in both.items()
  }


def _split(node: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
  adapters: dict[str, Any] = {}
  rest: dict[str, Any] = {}
  for name, child in node.items():
    if isinstance(child, Mapping):
      below, above = _split(child)
      if below:
        adapters[name] = below
      rest[name] = above
    else:
      added = name == prefix.NAME or name.startswith("lora_")
      (adapters if added else rest)[name] = child
  return adapters, rest


def _adapter(
  path: str, kernel: jax.Array, rank: int, key: Key[Array, ""]
) -> dict[str, jax.Array]:
  """Draws A so that unit-variance inputs give unit variance, and sets B = 0."""
  *stacked, inputs, outputs = kernel.shape
  # Each module draws its own A.
  key = jax.random.fold_in(key, zlib.crc32(path.encode()))
  a = jax.random.normal(key, (*stacked, inputs, rank)) * inputs**-0.5
  return {"lora_a": a, "lora_b": jnp.zeros((*stacked, rank, outputs))}
