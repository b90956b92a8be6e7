"""`jaxrl-entropy generate`: answers of a policy to prompts."""

import argparse
import collections
from collections.abc import Iterable, Sequence
import dataclasses
import itertools
import json
from pathlib import Path
import sys
import zlib

from jaxrl_entropy import config as config_lib, distributed
from jaxrl_entropy.cli import flags
from jaxrl_entropy.data.tokenizers import Tokenizer
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.sampling import tuning
from jaxrl_entropy.sampling.request import Request
from jaxrl_entropy.sampling.sampler import Event, Sampler
from jaxrl_entropy.text import printable
from jaxrl_entropy.training.policy import Policy, build_policy, load_policy

_EXAMPLES = """\
  jaxrl-entropy generate --config=configs/smollm2.py \\
      --prompt "What is 7 + 5?"
  jaxrl-entropy generate --config=configs/smollm2.py --prompts=questions.txt \\
      --samples=4 --temperature=0.7 --json > answers.jsonl
  jaxrl-entropy generate --run=runs/quickstart/grpo --prompt "3 5 7 22 ="
"""
MAX_SLOTS = 32
# A stream comes in steps of so many tokens.
STREAM_STEPS = 4
# Sizes are rounded up to this many tokens, so that programs are found in the
# compilation cache for prompts of about the same length.
ROUND = 64


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  command = _parser()
  args, overrides = flags.parse_with_overrides(command, argv)
  if not (args.config or args.run):
    command.error("which model? give --run or --config")
  if args.best and not args.run:
    command.error("--best is the best policy of a run: give --run")
  if args.samples < 1:
    command.error(f"--samples is {args.samples}: it must be at least 1")
  distributed.start()
  prompts = [*args.prompt, *_read_prompts(args.prompts)]
  if not prompts:
    command.error("nothing to answer: give --prompt or --prompts")
  policy = _policy(args, overrides)
  requests = [
    _request(prompt, policy.tokenizer, args, _seed(args.seed, place))
    for place, prompt in enumerate(prompts)
  ]
  sampler = _sampler(policy, requests, args.draft_tokens)
  screen = _Screen(prompts, args.samples, policy.tokenizer)
  for event in sampler.stream(policy.params, requests):
    if not args.json:
      screen.show(event)
    elif event.completion is not None:
      record = _record(event, prompts[event.request], policy.tokenizer)
      print(json.dumps(record), flush=True)
  return 0


def _parser() -> flags.Parser:
  command = flags.parser("generate", "Answers prompts.", _EXAMPLES)
  flags.add_config_flag(command, required=False)
  add = command.add_argument
  add("--run", metavar="DIR", help="answer with this run's trained policy")
  add("--best", action="store_true", help="with its best one, not its last")
  add("--prompt", action="append", default=[], help="text; may be repeated")
  add("--prompts", metavar="FILE", help="one prompt a line; - reads stdin")
  add("--system", help="system message of the chat template")
  add("--samples", type=int, default=1, help="answers a prompt")
  add("--max-tokens", type=int, default=256, help="length of an answer")
  add("--temperature", type=float, default=0.0, help="0 (default): greedy")
  add("--top-k", type=int, default=0, help="0: off")
  add("--top-p", type=float, default=1.0, help="1: off")
  add("--min-p", type=float, default=0.0, help="0: off")
  add("--stop", action="append", default=[], help="text that ends an answer")
  add("--seed", type=int, default=0, help="of the random numbers")
  add("--draft-tokens", type=int, default=0, help="look-up drafts; 0: off")
  add("--json", action="store_true", help="one JSON object an answer, a line")
  return command


def _policy(
  args: argparse.Namespace, overrides: Sequence[tuple[str, str]]
) -> Policy:
  """What a run has made of its model, or else the config's model."""
  if args.run is None:
    return build_policy(config_lib.load(args.config, overrides))
  if args.config is None:
    config = config_lib.of_run(args.run, overrides)
  else:
    config = config_lib.load(args.config, overrides)
    with config.unlocked():
      config.model.update(config_lib.read(args.run)["model"])
  return load_policy(config, args.run, args.best)


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


def _seed(seed: int, place: int) -> int:
  """Random numbers of its own for each prompt."""
  return zlib.crc32(f"{seed} {place}".encode())


def _request(
  prompt: str, tokenizer: Tokenizer, args: argparse.Namespace, seed: int
) -> Request:
  return Request(
    tokenizer.render(prompt, args.system),
    n=args.samples,
    max_tokens=args.max_tokens,
    temperature=args.temperature,
    top_k=args.top_k,
    top_p=args.top_p,
    min_p=args.min_p,
    stop_ids=tokenizer.stop_ids,
    stop_strings=tuple(args.stop),
    seed=seed,
  )


def _sampler(
  policy: Policy, requests: Sequence[Request], draft_tokens: int
) -> Sampler:
  """A sampler just large enough, but no larger than the model's context."""

  def largest(lengths: Iterable[int]) -> int:
    return min(-(-max(lengths) // ROUND) * ROUND, policy.model.max_length)

  return Sampler(
    policy.model,
    policy.mesh,
    slots=min(sum(request.n for request in requests), MAX_SLOTS),
    max_prompt_length=largest(len(r.prompt) for r in requests),
    max_length=largest(len(r.prompt) + max(r.limits) for r in requests),
    decode_text=policy.tokenizer.decode,
    draft_tokens=draft_tokens,
    tuning=dataclasses.replace(
      tuning.for_mesh(policy.mesh), steps=STREAM_STEPS
    ),
  )


def _record(event: Event, prompt: str, tokenizer: Tokenizer) -> dict:
  completion = event.completion
  assert completion is not None
  return {
    "index": event.request,
    "prompt": prompt,
    "sample": event.sample,
    "text": tokenizer.decode(completion.tokens.tolist()),
    "finish": completion.finish,
    "tokens": completion.tokens.tolist(),
    "logp": completion.raw_logp.tolist(),
  }


class _Screen:
  """Prints answers in order; the one whose turn it is appears as it grows."""

  def __init__(
    self, prompts: Sequence[str], samples: int, tokenizer: Tokenizer
  ):
    self._prompts, self._tokenizer = prompts, tokenizer
    keys = itertools.product(range(len(prompts)), range(samples))
    self._turns = collections.deque(keys)
    self._titled = len(self._turns) > 1
    self._tokens: dict[tuple[int, int], list[int]] = {
      k: [] for k in self._turns
    }
    self._ended: set[tuple[int, int]] = set()
    self._shown: str | None = None  # Nothing of this answer, not its title.

  def show(self, event: Event) -> None:
    key = event.request, event.sample
    self._tokens[key] += event.tokens.tolist()
    if event.completion is not None:
      self._ended.add(key)
    while self._turns and self._tokens[self._turns[0]]:
      self._grow(self._turns[0])
      if self._turns[0] not in self._ended:
        break
      print()
      self._turns.popleft()
      self._shown = None

  def _grow(self, key: tuple[int, int]) -> None:
    """Writes what is new of an answer."""
    text = self._tokenizer.decode(self._tokens[key])
    if key not in self._ended:
      # Half of a character: the rest comes with the next token.
      text = text.rstrip("\ufffd")
    if self._titled and self._shown is None:
      print(f"\n> {printable(self._prompts[key[0]])}")
    print(printable(text.removeprefix(self._shown or "")), end="", flush=True)
    self._shown = text
