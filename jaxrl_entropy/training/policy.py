"""The policy of a run: model, parameters, tokenizer and mesh."""

import dataclasses
import functools
import json
from pathlib import Path

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from jaxrl_entropy import config as config_lib, run_files, sharding
from jaxrl_entropy.config import get_config
from jaxrl_entropy.data import task as task_lib, tokenizers
from jaxrl_entropy.data.chat import PromptFormat
from jaxrl_entropy.data.prefixed import PrefixedTokenizer
from jaxrl_entropy.data.tokenizers import Tokenizer
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.models import lora
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.training.checkpoint import restore_params
from jaxrl_entropy.training.weights import (
  add_adapters,
  check_room,
  fitted,
  init_params,
  preset_model,
  weights_path,
)
from jaxrl_entropy.types import Params

CHECKPOINTS = run_files.CHECKPOINTS
BEST = "best"


@dataclasses.dataclass(frozen=True)
class Policy:
  """A model that can be trained and sampled, on a mesh.

  Attributes:
    mesh: where everything lives.
    tokenizer: text to ids.
    model: the decoder's configuration.
    params: its parameters in the training layout.
  """

  mesh: Mesh
  tokenizer: Tokenizer
  model: TransformerConfig
  params: Params


def build_policy(config: ConfigDict, mesh: Mesh | None = None) -> Policy:
  """Returns the policy of a config with its first weights.

  Args:
    config: of the run.
    mesh: where to; by default that of the config, over all devices.

  Raises:
    UserError: if the vocabulary does not fit the model.
    ValueError: if a name or a size in `config` is not valid.
  """
  mesh = mesh or sharding.make_mesh(**config.mesh)
  tokenizer = build_tokenizer(config)
  model, params = build_model(config, tokenizer, mesh)
  params = with_adapters(params, model, config, mesh)
  if tokenizer.vocab_size > model.vocab_size:
    raise UserError(
      f"the tokenizer has {tokenizer.vocab_size} symbols and the model "
      f"{config.model.preset!r} a vocabulary of {model.vocab_size}: choose "
      "another model.preset or model.tokenizer"
    )
  longest = sampled_length(config)
  if longest > model.max_length:
    raise UserError(
      f"rollout.max_prompt_length + max_response_length (or that of eval) is "
      f"{longest}, and the "
      f"model was made for {model.max_length}: lower one of them, or set "
      "model.max_length to go beyond it"
    )
  if model.prefix_length:
    first = model.vocab_size
    prefix = range(first, first + model.prefix_length)
    tokenizer = PrefixedTokenizer(tokenizer, prefix)
  return Policy(mesh, tokenizer, model, params)


def load_model(
  path: str,
  mesh: Mesh | None = None,
  *,
  param_dtype: str = "bfloat16",
  compute_dtype: str = "bfloat16",
) -> Policy:
  """Loads a model with its tokenizer.

  Args:
    path: a Hugging Face folder, a GGUF file, the URL of one, or a name on the
      hub, `ORGANIZATION/NAME[@REVISION]`.
    mesh: devices with the axes of `sharding.make_mesh`; by default all devices,
      on the fsdp axis.
    param_dtype: dtype of the parameters.
    compute_dtype: dtype of the forward pass.

  Returns:
    The policy: model, parameters on the mesh, tokenizer and mesh.

  Raises:
    UserError: if there is no such model, or it does not fit in memory.

  Example:
    >>> policy = load_model("Qwen/Qwen2.5-0.5B")
    >>> sampler = Sampler(policy.model, policy.mesh)
    >>> request = Request(policy.tokenizer.render("What is 7 + 5?"))
    >>> [[completion]] = sampler.generate(policy.params, [request])
    >>> policy.tokenizer.decode(completion.tokens)
  """
  config = get_config()
  config.model.update(
    weights=path, param_dtype=param_dtype, compute_dtype=compute_dtype
  )
  tokenizer = build_tokenizer(config)
  mesh = mesh or sharding.make_mesh(fsdp=-1)
  model, params = build_model(config, tokenizer, mesh)
  return Policy(mesh, tokenizer, model, params)


def load_policy(
  config: ConfigDict, workdir: str | Path, best: bool = False
) -> Policy:
  """Returns the policy of a run, at its newest checkpoint or its best.

  Args:
    config: of the run, as `config.of_run` reads it.
    workdir: folder of the run.
    best: whether to take the best policy by `checkpoint.best_by`.

  Raises:
    UserError: if `workdir` has no such checkpoint.
  """
  policy = build_policy(config)
  folder = Path(workdir) / (BEST if best else CHECKPOINTS)
  restored = restore_params(folder, policy.params)
  if restored is None:
    raise UserError(f"{folder}: there is no checkpoint of a run")
  return dataclasses.replace(policy, params=restored[1])


def load_teacher(config: ConfigDict, policy: Policy) -> Policy:
  """Returns the policy of `config.teacher.weights`, on the mesh of another.

  Args:
    config: of the run.
    policy: gives the mesh and the tokenizer, which the teacher shares.

  Raises:
    UserError: if there is none, or its vocabulary is another one.
  """
  path = teacher_path(config)
  name = f"config.teacher.weights={config.teacher.weights!r}"
  model, params = _load(name, path, config, policy.tokenizer, policy.mesh)
  size, needed = model.real_vocab_size, policy.model.real_vocab_size
  if size != needed:
    raise UserError(
      f"{name} has a vocabulary of {size} and the policy one of {needed}: "
      "choose a teacher with the policy's tokenizer"
    )
  return dataclasses.replace(policy, model=model, params=params)


def teacher_path(config: ConfigDict) -> Path:
  """Returns the path of `config.teacher.weights`, fetched if it is not local.

  Raises:
    UserError: if there are none, or the policy has a soft prefix.
  """
  weights, length = config.teacher.weights, config.model.prefix_length
  if length:
    raise UserError(
      f"config.model.prefix_length is {length}, and the loss reads a teacher, "
      "which does not know the prefix: set prefix_length to 0"
    )
  if not weights:
    raise UserError(
      f"loss.name is {config.loss.name!r}, which reads a teacher, and "
      "teacher.weights is empty: give a model as for model.weights"
    )
  return weights_path(weights, "config.teacher.weights")


def build_tokenizer(config: ConfigDict) -> Tokenizer:
  """Returns the task's symbols, the tokenizer of the weights, or of a path.

  Raises:
    UserError: if there is no such tokenizer.
  """
  model = config.model
  if model.tokenizer == "symbols":
    task = task_lib.resolve(config.task.name, config.task.args)
    if task.tokenizer is None:
      raise UserError(
        "model.tokenizer is 'symbols' but this task's prompts are text: set "
        "model.tokenizer to 'auto' or to a tokenizer's folder"
      )
    if prompt_format(config) != PromptFormat():
      raise UserError(
        "config.prompt is set, and model.tokenizer is 'symbols', whose prompts "
        "are the task's alone: leave config.prompt as it is"
      )
    return task.tokenizer
  if model.tokenizer == "auto" and not model.weights:
    raise UserError(
      "model.tokenizer is 'auto', beside the weights, but model.weights is "
      "empty: set model.weights, or give the tokenizer's folder"
    )
  weights = weights_path(model.weights) if model.weights else None
  if model.tokenizer == "auto" and weights and (run := run_of(weights)):
    return build_tokenizer(config_lib.of_run(run.folder))
  if model.tokenizer == "auto" and weights:
    return tokenizers.load_tokenizer(
      weights, prompt_format=prompt_format(config)
    )
  return tokenizers.load_tokenizer(
    model.tokenizer, weights, prompt_format(config)
  )


def prompt_format(config: ConfigDict) -> PromptFormat:
  """Returns the form of the prompts of a config."""
  prompt = config.prompt
  return PromptFormat(
    template=prompt.template,
    system=prompt.system,
    suffix=prompt.suffix,
    date=prompt.date,
    variables=prompt.variables.to_dict(),
  )


def with_adapters(
  params: Params, model: TransformerConfig, config: ConfigDict, mesh: Mesh
) -> Params:
  """Returns `add_adapters` of the parameters on a mesh.

  Args:
    params: of a model without adapters.
    model: the decoder.
    config: of the run; its seed draws them.
    mesh: devices that hold the parameters.

  Raises:
    ValueError: if a target is no projection.
  """
  if not (config.model.lora_rank or config.model.prefix_length):
    return params

  def add(params: Params) -> Params:
    return add_adapters(params, model, config)

  shardings = sharding.param_shardings(jax.eval_shape(add, params), mesh)
  return jax.jit(add, out_shardings=shardings)(params)


def row_length(config: ConfigDict) -> int:
  """Returns the tokens of the longest prompt with the longest response."""
  rollout = config.rollout
  return rollout.max_prompt_length + rollout.max_response_length


def sampled_length(config: ConfigDict) -> int:
  """Returns the tokens of the longest sequence of a rollout or evaluation."""
  longer = config.eval.max_response_length - config.rollout.max_response_length
  return row_length(config) + max(0, longer)


def build_model(
  config: ConfigDict, tokenizer: Tokenizer, mesh: Mesh
) -> tuple[TransformerConfig, Params]:
  """Returns the decoder and its parameters, loaded or random, on `mesh`.

  Args:
    config: of the run; its `model` section says which.
    tokenizer: decides how many ids can be drawn, and the size of a model with
      the "symbols" vocabulary.
    mesh: devices that hold the parameters.

  Raises:
    UserError: if the parameters do not fit in memory, before they are made.
  """
  if weights := config.model.weights:
    name, path = f"config.model.weights={weights!r}", weights_path(weights)
    return _load(name, path, config, tokenizer, mesh)
  model = fitted(preset_model(config, tokenizer), config, tokenizer)
  name = f"config.model.preset={config.model.preset!r}"
  shardings = check_room(name, config, model, mesh)
  init = functools.partial(init_params, model, config)
  return model, jax.jit(init, out_shardings=shardings)()


def _load(
  name: str, path: Path, config: ConfigDict, tokenizer: Tokenizer, mesh: Mesh
) -> tuple[TransformerConfig, Params]:
  """Returns the decoder at a path and its parameters; `name` is of errors."""
  from jaxrl_entropy.models.io import checkpoints

  dtype = config.model.param_dtype
  if run := run_of(path):
    model, params = run_model(run, dtype, mesh)
  else:
    check_room(name, config, checkpoints.read_config(path), mesh)
    model, params = checkpoints.load(path, mesh, dtype)
  model = dataclasses.replace(model, dtype=config.model.compute_dtype)
  return fitted(model, config, tokenizer), params


@dataclasses.dataclass(frozen=True)
class RunWeights:
  """Weights that a run has trained.

  Attributes:
    folder: of the run.
    best: whether its best policy is meant, not its last.
  """

  folder: Path
  best: bool = False


def run_of(path: Path) -> RunWeights | None:
  """Returns the run that `path` is the folder of, or its folder `best`."""
  for folder, best in ((path, False), (path.parent, path.name == BEST)):
    try:
      record = json.loads((folder / config_lib.FILE).read_text())
    except (OSError, ValueError):
      continue
    if "config" in record and (best or folder == path):
      return RunWeights(folder, best)
  return None


def run_model(
  run: RunWeights, param_dtype: str, mesh: Mesh
) -> tuple[TransformerConfig, Params]:
  """Returns the model of a run and its parameters, adapters merged.

  Args:
    run: folder of the run, and which of its policies.
    param_dtype: dtype of the parameters.
    mesh: devices that hold them.

  Raises:
    UserError: if it has no checkpoint, or its policy has a soft prefix.
  """
  config = config_lib.of_run(run.folder)
  if length := config.model.prefix_length:
    raise UserError(
      f"{run.folder}: its policy has a soft prefix (config.model.prefix_length "
      f"is {length}), which no other run can start from: evaluate that run, or "
      "go on with it under more steps"
    )
  with config.unlocked():
    config.mesh = ConfigDict(dict(mesh.shape))
    config.model.param_dtype = param_dtype
  policy = load_policy(config, run.folder, run.best)
  return policy.model, lora.merged(policy.params)
