"""Speed of a training step, against torch with transformers.

    python -m benchmarks.train_step --quick
    python -m benchmarks.train_step --full --json train_step.json

One GRPO update of SmolLM2-135M in float32 (log-probs and entropy of every
token, loss, gradients, AdamW), the same rows for both. Padded rows have full
length; ragged ones are on average a third full, which ours packs and the peer
pads. The losses are compared before anything is timed.
"""

from collections.abc import Callable
import dataclasses
import functools
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import common
from benchmarks.common import Result, seconds
from jaxrl_entropy import objectives, sharding
from jaxrl_entropy.data import packing
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import TransformerConfig, preset
from jaxrl_entropy.models.io import export
from jaxrl_entropy.training import packed_batch
from jaxrl_entropy.training.forward import Forward
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.training.state import TrainState, init_state
from jaxrl_entropy.training.update import make_update

LENGTH, PROMPT = 192, 16
# Near the log-prob of a random token, so that some ratios are clipped.
OLD_LOGP = -10.8
LEARNING_RATE = 1e-6
OPTIMIZER = optax.adamw(LEARNING_RATE, weight_decay=0.0)
MODEL = preset("smollm2-135m")
MESH = sharding.make_mesh(devices=jax.devices()[:1])


@dataclasses.dataclass(frozen=True)
class Setup:
  """A load: responses laid into rows, and the update that trains on them.

  Attributes:
    rows: responses.
    micro_batches: slices of the batch.
    ragged: lengths vary, a third of the longest on average.
    packed: several responses share a row.
    length: of a row, tokens.
  """

  rows: int
  micro_batches: int
  ragged: bool = False
  packed: bool = False
  model: TransformerConfig = MODEL
  length: int = LENGTH

  def sequences(self) -> list[np.ndarray]:
    """Returns the token ids of each prompt with its response."""
    rng = np.random.default_rng(0)
    sizes = np.full(self.rows, self.length)
    if self.ragged:
      drawn = rng.lognormal(np.log(36), 0.7, self.rows).astype(int)
      sizes = PROMPT + np.clip(drawn, 1, self.length - PROMPT)
    return [rng.integers(self.model.vocab_size, size=size) for size in sizes]

  def advantages(self) -> np.ndarray:
    return np.random.default_rng(1).normal(size=self.rows).astype(np.float32)

  def layout(self) -> Rows:
    """Returns the load as [rows, LENGTH] on the host."""
    sequences = self.sequences()
    place = packed_batch.one_per_row(self.rows)
    if self.packed:
      place = packing.first_fit([len(s) for s in sequences], self.length)
    needed = 1 + max(row for row, _ in place)
    rows = packed_batch.fill_rows(
      [s[:PROMPT] for s in sequences],
      [s[PROMPT:] for s in sequences],
      place,
      rows=-(-needed // self.micro_batches) * self.micro_batches,
      length=self.length,
    )
    shape = (self.rows, self.length)
    constant = np.full(shape, OLD_LOGP, np.float32)
    spread = np.broadcast_to(self.advantages()[:, None], shape)
    signals = {"advantages": spread, "old_logp": constant}
    return packed_batch.with_signals(rows, signals)

  def arrays(self) -> tuple[TrainState, Rows]:
    """Returns random weights and the load, on the device."""
    params = jax.jit(functools.partial(transformer.init, self.model))(
      jax.random.key(0)
    )
    return init_state(params, OPTIMIZER, 0, MESH), jax.tree.map(
      lambda x: jnp.asarray(x).reshape(self.micro_batches, -1, self.length),
      self.layout(),
    )

  def shapes(self) -> tuple[Any, Any]:
    """Returns the shapes of `arrays`, without memory for it."""
    return jax.eval_shape(self.arrays)

  def update(self, forward: Forward) -> Any:
    """Returns the jitted update."""
    return make_update(
      lambda _: objectives.resolve("grpo"),
      OPTIMIZER,
      forward,
      None,
      num_responses=self.rows,
      max_length=self.length,
    )


class Ours:
  """Updates by this package."""

  def __init__(self, setup: Setup, forward: Forward):
    self._state, self._rows = setup.arrays()
    self._update = setup.update(forward)

  def step(self) -> float:
    """Runs one update; returns the loss before it."""
    self._state, metrics = self._update(self._state, self._rows)
    return float(metrics["loss"].compute())


class Torch:
  """The same update by torch, on a model of `transformers`."""

  def __init__(self, setup: Setup):
    import torch
    from transformers import AutoModelForCausalLM

    params = setup.arrays()[0].params
    with tempfile.TemporaryDirectory() as folder:
      export.save(folder, setup.model, params)
      self._model = AutoModelForCausalLM.from_pretrained(folder)
    self._torch, device = torch, common.torch_device()
    self._model.to(device)
    # Weights stay in float32 for both; ours casts them at use, too.
    self._autocast = functools.partial(
      torch.autocast,
      device,
      dtype=getattr(torch, setup.model.dtype),
      enabled=setup.model.dtype != "float32",
    )
    self._optimizer = torch.optim.AdamW(
      self._model.parameters(), lr=LEARNING_RATE, weight_decay=0.0
    )
    rows = dataclasses.replace(setup, packed=False).layout()
    self._count = int(rows.mask.sum())
    self._slices = [
      [torch.as_tensor(x, device=device) for x in part]
      for part in zip(
        *(
          np.split(x, setup.micro_batches)
          for x in (
            rows.tokens.astype(np.int64),
            (rows.segments > 0).astype(np.int64),
            rows.mask,
            rows.signals["advantages"],
          )
        ),
        strict=True,
      )
    ]

  def step(self) -> float:
    """Runs one update; returns the loss before it."""
    self._optimizer.zero_grad()
    total = 0.0
    for part in self._slices:
      loss = self._loss(*part)
      loss.backward()
      total += loss.item()
    self._optimizer.step()
    return total

  def _loss(self, tokens: Any, seen: Any, mask: Any, advantages: Any) -> Any:
    torch = self._torch
    with self._autocast():
      logits = self._model(tokens, attention_mask=seen).logits[:, :-1]
    logp = torch.log_softmax(logits.float(), dim=-1)
    # Computed and reported by trainers, as by ours.
    entropy = -(logp.detach().exp() * logp.detach()).sum(-1)
    assert bool(torch.isfinite(entropy).all())
    picked = logp.gather(-1, tokens[:, 1:, None])[..., 0]
    ratio = torch.exp(picked - OLD_LOGP)
    advantages = advantages[:, 1:]
    loss = torch.maximum(
      -advantages * ratio, -advantages * ratio.clamp(0.8, 1.2)
    )
    return (loss * mask[:, 1:]).sum() / self._count


def measure(setup: Setup, forward: Forward, rounds: int) -> list[Result]:
  """Returns useful tokens per second of ours against the peer on one load."""
  ours = Ours(setup, forward)
  try:
    peer = Torch(setup)
  except ImportError:
    common.skip("torch with transformers", "pip install torch transformers")
    return []
  np.testing.assert_allclose(ours.step(), peer.step(), rtol=2e-3)
  tokens = sum(len(sequence) for sequence in setup.sequences())
  turns: dict[str, Callable[[], float]] = {
    "ours": lambda: tokens / seconds(ours.step),
    "torch": lambda: tokens / seconds(peer.step),
  }
  kind = "ragged, packed" if setup.packed else "full rows"
  case = f"{setup.rows} x {setup.length} {kind} / {setup.micro_batches}"
  measured = common.alternate(turns, rounds)
  return common.compare(
    case, "train tok/s", measured.values, "ours", cpu=measured.cpu
  )


ragged = functools.partial(Setup, ragged=True, packed=True)
QUICK = (Setup(2, 1), ragged(6, 1))
# With several micro-batches ours runs every forward pass twice: the objective
# sees the whole mini-batch before any gradient is taken.
FULL = (Setup(4, 1), Setup(8, 2), ragged(12, 1))


def main() -> None:
  args = common.arguments(__doc__)
  # Less memory to touch makes this faster on CPU than keeping everything.
  forward = Forward(MODEL, remat="dots")
  loads, rounds = (QUICK, 7) if args.quick else (FULL, 15)
  results = [r for load in loads for r in measure(load, forward, rounds)]
  common.report("train_step", results, args.json)


if __name__ == "__main__":
  main()
