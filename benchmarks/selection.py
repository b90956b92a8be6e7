"""Cost of exact covariance selection, against sorts and torch.

    python -m benchmarks.selection --quick
    python -m benchmarks.selection --full --json selection.json

Masking, centering and picking of N tokens, all in one go: KL-Cov (the top 2e-3)
and Clip-Cov (2e-4 drawn from a band). `torch` does it the way of the paper's
code: boolean masks, means, `topk`, or `nonzero` and `randperm`. `top_k` and
`sort` are JAX's own, after the same centering; they gather every score of a
mesh on each device, ours do not. `one pass` reads every score once and is no
contestant: it says how far anything could go. ns a token, less is better.
"""

from collections.abc import Callable
import statistics
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from benchmarks.common import Measured, Result, seconds
from jaxrl_entropy import losses
from jaxrl_entropy.types import TokenBatch, token_batch

LENGTH = 1000
TOP, DRAW, LOW, HIGH = 2e-3, 2e-4, 1.0, 5.0
KEY = jax.random.key(0)


def batch_of(tokens: int) -> TokenBatch:
  """Log-probs and advantages as a rollout has them; one in ten is padding."""
  rng = np.random.default_rng(0)
  shape = (tokens // LENGTH, LENGTH)
  logp = -rng.exponential(0.6, shape).astype(np.float32)
  advantages = rng.normal(size=(shape[0], 1)).astype(np.float32)
  return token_batch(
    jnp.asarray(logp),
    jnp.asarray(logp),
    jnp.asarray(np.broadcast_to(advantages, shape)),
    jnp.asarray(rng.random(shape) < 0.9),
  )


def ours(selector: losses.Selector) -> Callable[[TokenBatch], jax.Array]:
  def pick(batch: TokenBatch) -> jax.Array:
    zeros = jnp.zeros_like(batch.logp)
    blank = losses.TokenLoss(zeros, zeros, zeros.astype(bool), {})
    return selector(blank, batch, KEY).chosen

  return jax.jit(pick)


def by_threshold(
  nth: Callable[[jax.Array, int], jax.Array],
) -> Callable[[TokenBatch], jax.Array]:
  """Selects KL-Cov by the value of the last token, from `nth(scores, k)`."""
  score = losses.covariance_score()

  def pick(batch: TokenBatch, count: int) -> jax.Array:
    scores = jnp.where(batch.mask, score(batch), -jnp.inf)
    return scores >= nth(scores.reshape(-1), count)

  jitted = jax.jit(pick, static_argnums=1)
  return lambda batch: jitted(batch, int(TOP * int(batch.mask.sum())))


class Torch:
  """The selections as the paper's code makes them."""

  def __init__(self, batch: TokenBatch):
    import torch

    self._torch, device = torch, common.torch_device()
    self._logp, self._advantages, self._mask = (
      torch.tensor(np.asarray(x), device=device)
      for x in (batch.logp, batch.advantages, batch.mask)
    )

  def kl_cov(self) -> Any:
    mask = self._mask
    places = mask.reshape(-1).nonzero()[:, 0]
    advantages, logp = self._advantages[mask], self._logp[mask]
    scores = (advantages - advantages.mean()) * (logp - logp.mean())
    count = max(1, int(TOP * len(scores)))
    best = self._torch.topk(scores, count, largest=True).indices
    chosen = self._torch.zeros_like(mask).reshape(-1)
    chosen[places[best]] = True
    return self._ready(chosen.reshape(mask.shape))

  def clip_cov(self) -> Any:
    mask = self._mask
    valid = mask.sum()

    def centered(x: Any) -> Any:
      return x - (x * mask).sum() / valid

    scores = centered(self._advantages) * centered(self._logp)
    scores[~mask] = -self._torch.inf
    inside = (scores < HIGH) & (scores > LOW) & mask
    places = inside.nonzero()
    count = max(1, int(DRAW * valid.item()))
    order = self._torch.randperm(len(places), device=places.device)
    drawn = places[order[:count]]
    chosen = self._torch.zeros_like(mask)
    chosen[drawn[:, 0], drawn[:, 1]] = True
    return self._ready(chosen)

  def _ready(self, x: Any) -> Any:
    """Returns `x` once it is computed."""
    if x.is_cuda:
      self._torch.cuda.synchronize()
    return x


def check(batch: TokenBatch, pick: dict[str, Callable], torch: Torch) -> None:
  """Checks equal sets for KL-Cov; for Clip-Cov equal counts in the band."""
  top = torch.kl_cov().cpu().numpy()
  for name in ("KL-Cov", "top_k", "sort"):
    differing = int((np.asarray(pick[name](batch)) != top).sum())
    # Means of another order of summation: neighbors at the cut may swap.
    assert differing <= 2, f"{name} picks {differing} other tokens than torch"
  drawn = np.asarray(pick["Clip-Cov"](batch))
  scores = np.asarray(losses.covariance_score()(batch))[drawn]
  assert drawn.sum() == torch.clip_cov().sum()
  assert ((scores > LOW) & (scores < HIGH)).all()


def measure(tokens: int, rounds: int) -> list[Result]:
  """Measures every contestant on N tokens."""
  batch = batch_of(tokens)
  pick = {
    "KL-Cov": ours(losses.top_covariance(TOP)),
    "Clip-Cov": ours(losses.random_covariance(DRAW, LOW, HIGH)),
    "top_k": by_threshold(lambda x, k: lax.top_k(x, k)[0][-1]),
    "sort": by_threshold(lambda x, k: jnp.sort(x)[-k]),
    "one pass": jax.jit(lambda batch: jnp.sum(batch.logp)),
  }
  turns: dict[str, Callable[[], Any]] = {
    name: lambda call=call: jax.block_until_ready(call(batch))
    for name, call in pick.items()
  }
  try:
    torch = Torch(batch)
  except ImportError:
    common.skip("torch", "pip install torch")
  else:
    check(batch, pick, torch)
    turns |= {"torch kl": torch.kl_cov, "torch clip": torch.clip_cov}
  measured = common.alternate(
    {
      name: lambda call=call: seconds(call) / tokens * 1e9
      for name, call in turns.items()
    },
    rounds,
  )
  floor = statistics.median(measured.values["one pass"])
  print(
    f"N = {tokens:.0e}: one pass over the scores takes {floor:.2f} ns/token"
  )
  return compared(f"N = {tokens:.0e}", measured)


def compared(size: str, measured: Measured) -> list[Result]:
  results = []
  for rule, peers in (
    ("KL-Cov", ("torch kl", "top_k", "sort", "one pass")),
    ("Clip-Cov", ("torch clip", "one pass")),
  ):
    names = [k for k in (rule, *peers) if k in measured.values]
    results += common.compare(
      f"{rule}, {size}",
      "ns/token",
      {name: measured.values[name] for name in names},
      rule,
      cpu=measured.cpu,
      higher_is_better=False,
    )
  return results


def main() -> None:
  args = common.arguments(__doc__)
  sizes = (10**5, 10**6) if args.quick else (10**5, 10**6, 4 * 10**6)
  rounds = 9 if args.quick else 25
  results = [r for size in sizes for r in measure(size, rounds)]
  common.report("selection", results, args.json)


if __name__ == "__main__":
  main()
