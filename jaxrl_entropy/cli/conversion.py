"""The work of `jaxrl-entropy convert`: loads a model and writes its folder."""

from pathlib import Path
from typing import Any

from jaxrl_entropy import config as config_lib, distributed
from jaxrl_entropy.data.gguf_tokenizer import from_gguf
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.io import checkpoints, export
from jaxrl_entropy.training.policy import load_policy, run_of
from jaxrl_entropy.training.weights import weights_path
from jaxrl_entropy.types import Params

_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
Loaded = tuple[TransformerConfig, Params, Path | None]
"""A model, its parameters, and the files that have its tokenizer."""


def load_run(workdir: Path, best: bool) -> Loaded:
  """Loads the policy of a run, its best one or its last.

  Args:
    workdir: the run's folder.
    best: whether to load the checkpoint of the best evaluation, not the last.

  Returns:
    Model, parameters, and the files from which the run's tokenizer came; None
    in their place if it was not started from weights.

  Raises:
    UserError: if there is no such run, or it has no such checkpoint.
  """
  distributed.start()
  policy = load_policy(config_lib.of_run(workdir), workdir, best)
  return policy.model, policy.params, _origin(workdir)


def load_files(source: Path) -> Loaded:
  """Loads a Hugging Face folder or a GGUF file.

  Raises:
    UserError: if there is no such file, or `source` is a run.
  """
  if not source.exists():
    raise UserError(f"--source {source}: no such file or folder")
  if run := run_of(source):
    best = " --best" if run.best else ""
    raise UserError(
      f"--source {source} is a run: give --workdir={run.folder}{best} instead"
    )
  distributed.start()
  return *checkpoints.load(source), source


def write(
  loaded: Loaded, target: Path, dtype: str | None, shard_bytes: int
) -> None:
  """Writes a model with its tokenizer as a Hugging Face folder.

  Args:
    loaded: of `load_run` or `load_files`.
    target: the folder.
    dtype: of the written weights; None for that of the parameters.
    shard_bytes: largest size of a file of weights.
  """
  model, params, origin = loaded
  export.save(
    target,
    model,
    params,
    token_ids=_copy_tokenizer(origin, target),
    dtype=dtype,
    shard_bytes=shard_bytes,
  )


def _origin(run: Path) -> Path | None:
  """Returns the files that the first run of a chain of runs started from."""
  weights = config_lib.of_run(run).model.weights
  if not weights:
    return None
  path = weights_path(weights)
  parent = run_of(path)
  return _origin(parent.folder) if parent else path


def _copy_tokenizer(origin: Path | None, target: Path) -> dict[str, Any]:
  """Copies the tokenizer beside the weights; returns its special ids."""
  if origin is None:
    return {}
  if origin.suffix != ".gguf":
    return export.copy_companions(origin, target)
  tokenizer = from_gguf(origin)
  tokenizer.save_pretrained(target)
  return {name: getattr(tokenizer, name) for name in _TOKEN_IDS}
