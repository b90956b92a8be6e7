"""`jaxrl-entropy convert`: weights as a folder that `transformers` loads."""

from collections.abc import Sequence
from pathlib import Path
import tempfile

from jaxrl_entropy import hub
from jaxrl_entropy.cli import flags
from jaxrl_entropy.errors import UserError

_EXAMPLES = """\
  jaxrl-entropy convert --workdir=runs/mine --target=mine-hf
  jaxrl-entropy convert --source=model.gguf --target=model-hf --dtype=bfloat16
  jaxrl-entropy convert --workdir=runs/mine --to=hub --target=my-lab/mine

Training reads runs, Hugging Face folders and GGUF files as they are: set
--config.model.weights.
"""


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  command = _parser()
  args = command.parse_args(argv)
  if args.best and not args.workdir:
    command.error("--best is the best policy of a run: give --workdir")
  if not args.shard_gb > 0:
    command.error(f"--shard-gb is {args.shard_gb}: it must be above 0")
  if args.to == "hub" and not hub.is_name(args.target):
    command.error(f"--target {args.target!r} is no ORGANIZATION/NAME")
  if args.to == "folder" and any(Path(args.target).glob("*.safetensors")):
    raise UserError(
      f"--target {args.target} already holds weights: choose another"
    )
  # JAX takes a second to load, which --help and mistakes need not wait for.
  from jaxrl_entropy.cli import conversion

  if args.workdir:
    loaded = conversion.load_run(Path(args.workdir), args.best)
  else:
    loaded = conversion.load_files(Path(args.source))
  shard_bytes = int(args.shard_gb * 1e9)
  if args.to == "folder":
    conversion.write(loaded, Path(args.target), args.dtype, shard_bytes)
    print(args.target)
    return 0
  with tempfile.TemporaryDirectory() as folder:
    conversion.write(loaded, Path(folder), args.dtype, shard_bytes)
    print(hub.push(Path(folder), args.target))
  return 0


def _parser() -> flags.Parser:
  command = flags.parser(
    "convert",
    "Writes config.json, tokenizer and sharded safetensors.",
    _EXAMPLES,
  )
  add = command.add_argument
  model = command.add_mutually_exclusive_group(required=True)
  model.add_argument("--workdir", metavar="DIR", help="folder of a run")
  model.add_argument(
    "--source", metavar="PATH", help="a Hugging Face folder or a .gguf file"
  )
  add("--best", action="store_true", help="the run's best policy, not its last")
  add("--target", required=True, help="folder to make, or name on the hub")
  add(
    "--to",
    choices=("folder", "hub"),
    default="folder",
    help="hub: upload the model as ORGANIZATION/NAME[@BRANCH]",
  )
  add("--dtype", choices=("float32", "bfloat16", "float16"), help="of weights")
  add("--shard-gb", type=float, default=4.0, help="largest size of a file")
  return command
