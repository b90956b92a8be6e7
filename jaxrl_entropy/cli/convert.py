"""`jaxrl-entropy convert`: weights as a folder that `transformers` loads."""

import argparse
from collections.abc import Sequence
from pathlib import Path
import tempfile
from typing import Any

from jaxrl_entropy import config as config_lib, distributed, hub
from jaxrl_entropy.cli import flags
from jaxrl_entropy.data.gguf_tokenizer import from_gguf
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.io import checkpoints, export
from jaxrl_entropy.training.policy import load_policy, run_of
from jaxrl_entropy.training.weights import weights_path
from jaxrl_entropy.types import Params

_EXAMPLES = """\
  jaxrl-entropy convert --source=runs/mine --target=mine-hf
  jaxrl-entropy convert --source=model.gguf --target=model-hf --dtype=bfloat16
  jaxrl-entropy convert --source=runs/mine --to=hub --target=my-lab/mine

Training reads runs, Hugging Face folders and GGUF files as they are: set
--config.model.weights.
"""
_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  command = flags.parser(
    "convert",
    "Writes config.json, tokenizer and sharded safetensors.",
    _EXAMPLES,
  )
  add = command.add_argument
  add("--source", required=True, help="a run, Hugging Face folder or .gguf")
  add("--best", action="store_true", help="the run's best policy, not its last")
  add("--target", required=True, help="folder to make, or name on the hub")
  add(
    "--to",
    choices=("folder", "hub"),
    default="folder",
    help="hub: upload the model as ORGANISATION/NAME[@BRANCH]",
  )
  add("--dtype", choices=("float32", "bfloat16", "float16"), help="of weights")
  add("--shard-gb", type=float, default=4.0, help="size of a file")
  args = command.parse_args(argv)
  if args.to == "hub":
    if not hub.is_name(args.target):
      command.error(f"--target {args.target!r} is no ORGANISATION/NAME")
    with tempfile.TemporaryDirectory() as folder:
      _write(Path(folder), args)
      print(hub.push(Path(folder), args.target))
    return 0
  target = Path(args.target)
  if any(target.glob("*.safetensors")):
    raise UserError(f"--target {target} already holds weights: choose another")
  _write(target, args)
  print(target)
  return 0


def _write(target: Path, args: argparse.Namespace) -> None:
  """Writes the model of `--source` into a folder."""
  distributed.start()
  model, params, origin = _load(Path(args.source), args.best)
  export.save(
    target,
    model,
    params,
    token_ids=_copy_tokenizer(origin, target),
    dtype=args.dtype,
    shard_bytes=int(args.shard_gb * 1e9),
  )


def _load(
  source: Path, best: bool
) -> tuple[TransformerConfig, Params, Path | None]:
  """The model of a run or of files, and where its tokenizer is."""
  if not source.exists():
    raise UserError(f"--source {source}: no such file or folder")
  run = run_of(source)
  if run is None and best:
    raise UserError(f"--best needs a run, and --source {source} is none")
  if run is None:
    return *checkpoints.load(source), source
  policy = load_policy(
    config_lib.of_run(run.folder), run.folder, best or run.best
  )
  return policy.model, policy.params, _origin(run.folder)


def _origin(run: Path) -> Path | None:
  """The files that a run, or the run that it went on from, was started from."""
  weights = config_lib.of_run(run).model.weights
  if not weights:
    return None
  path = weights_path(weights)
  parent = run_of(path)
  return _origin(parent.folder) if parent else path


def _copy_tokenizer(origin: Path | None, target: Path) -> dict[str, Any]:
  """Puts the tokenizer beside the weights; returns its special ids."""
  if origin is None:
    return {}
  if origin.suffix != ".gguf":
    return export.copy_companions(origin, target)
  tokenizer = from_gguf(origin)
  tokenizer.save_pretrained(target)
  return {name: getattr(tokenizer, name) for name in _TOKEN_IDS}
