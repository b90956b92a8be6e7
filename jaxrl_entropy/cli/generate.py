"""`jaxrl-entropy generate`: answers of a policy to prompts."""

from collections.abc import Sequence
from pathlib import Path
import sys

from jaxrl_entropy.cli import flags
from jaxrl_entropy.errors import UserError

_EXAMPLES = """\
  jaxrl-entropy generate --config=configs/smollm2.py \\
      --prompt "What is 7 + 5?"
  jaxrl-entropy generate --config=configs/smollm2.py --prompts=questions.txt \\
      --samples=4 --temperature=0.7 --json > answers.jsonl
  jaxrl-entropy generate --workdir=runs/quickstart/grpo --prompt "3 5 7 22 ="
"""


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  command = _parser()
  args, overrides = flags.parse_with_overrides(command, argv)
  config = flags.read_config(args, overrides)
  if args.samples < 1:
    command.error(f"--samples is {args.samples}: it must be at least 1")
  prompts = [*args.prompt, *_read_prompts(args.prompts)]
  if not prompts:
    command.error("there is no prompt: give --prompt or --prompts")
  # JAX takes a second to load, which --help and mistakes need not wait for.
  from jaxrl_entropy.cli import generation

  generation.run(config, prompts, args)
  return 0


def _parser() -> flags.Parser:
  command = flags.parser("generate", "Answers prompts.", _EXAMPLES)
  flags.add_policy_flags(command)
  add = command.add_argument
  add("--prompt", action="append", default=[], help="text; may be repeated")
  add("--prompts", metavar="FILE", help="one prompt per line; - reads stdin")
  add("--system", help="system message of the chat template")
  add("--samples", type=int, default=1, help="answers per prompt")
  add("--max-tokens", type=int, default=256, help="length of an answer")
  add("--temperature", type=float, default=0.0, help="0 (default): greedy")
  add("--top-k", type=int, default=0, help="0: off")
  add("--top-p", type=float, default=1.0, help="1: off")
  add("--min-p", type=float, default=0.0, help="0: off")
  add("--stop", action="append", default=[], help="text that ends an answer")
  add("--seed", type=int, default=0, help="of the random numbers")
  add("--draft-tokens", type=int, default=0, help="look-up drafts; 0: off")
  add("--json", action="store_true", help="one JSON object per answer")
  return command


def _read_prompts(file: str | None) -> list[str]:
  if file is None:
    return []
  try:
    text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
  except OSError as error:
    raise UserError(f"--prompts {file}: {error.strerror}") from error
  except UnicodeDecodeError as error:
    raise UserError(f"--prompts {file}: {error}; save it as UTF-8") from error
  # splitlines would also cut at form feeds and Unicode's line separators.
  lines = text.removeprefix("\ufeff").split("\n")
  return [line for line in lines if line.strip()]
