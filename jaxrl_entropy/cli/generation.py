"""The work of `jaxrl-entropy generate`: samples answers and prints them."""

import argparse
import collections
from collections.abc import Iterable, Sequence
import dataclasses
import itertools
import json
import zlib

from ml_collections import ConfigDict

from jaxrl_entropy import distributed
from jaxrl_entropy.data.tokenizers import Tokenizer
from jaxrl_entropy.sampling import tuning
from jaxrl_entropy.sampling.request import Request
from jaxrl_entropy.sampling.sampler import Event, Sampler
from jaxrl_entropy.text import printable
from jaxrl_entropy.training.policy import Policy, build_policy, load_policy

MAX_SLOTS = 32
# Tokens per step of a stream.
STREAM_STEPS = 4
# Sizes are rounded up to a multiple of this many tokens, so that prompts of
# about the same length use the same compiled programs.
ROUND = 64


def run(
  config: ConfigDict, prompts: Sequence[str], args: argparse.Namespace
) -> None:
  """Samples answers to prompts and prints them as they come.

  Args:
    config: of the policy.
    prompts: texts to answer.
    args: flags of the command.
  """
  distributed.start()
  if args.workdir is None:
    policy = build_policy(config)
  else:
    policy = load_policy(config, args.workdir, args.best)
  requests = [
    _request(prompt, policy.tokenizer, args, _seed(args.seed, index))
    for index, prompt in enumerate(prompts)
  ]
  sampler = _sampler(policy, requests, args.draft_tokens)
  screen = Screen(prompts, args.samples, policy.tokenizer)
  for event in sampler.stream(policy.params, requests):
    if not args.json:
      screen.show(event)
    elif event.completion is not None:
      record = _record(event, prompts[event.request], policy.tokenizer)
      print(json.dumps(record), flush=True)


def _seed(seed: int, index: int) -> int:
  """Returns the seed of one prompt, so that equal prompts differ."""
  return zlib.crc32(f"{seed} {index}".encode())


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
  """Returns a sampler for the requests, within the model's context."""

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


class Screen:
  """Prints answers in order; the one whose turn it is appears as it grows.

  Args:
    prompts: texts, shown above their answers if there are several answers.
    samples: answers to each prompt.
    tokenizer: turns the tokens of answers into text.
  """

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
    self._shown: str | None = None  # None: not even the title.

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
