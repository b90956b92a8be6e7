"""Draws how hard every objective pushes a token, by probability and advantage.

    python docs/gradient_weights.py      # writes docs/gradient_weights.png

A mini-batch of tokens of every probability p and advantage A; the rest of a
token's distribution is spread evenly over nine others. The policy has moved
with the advantage, r = exp(0.3 A), so that clips bite at both ends. A response
is a band of probabilities with tokens of every A; tokens of A > 0 count as
right. The weight is minus the derivative of
the summed loss by the token's log-prob, through its entropy as well.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy import losses, objectives
from jaxrl_entropy.types import TokenBatch

FILE = Path(__file__).with_name("gradient_weights.png")
PROBABILITIES = np.geomspace(2e-3, 0.995, 48)
ADVANTAGES = np.linspace(-2.5, 2.5, 41)  # 0 is one of them
DRIFT, OTHERS, BAND, COLUMNS = 0.3, 9, 6, 6

# What has no default, or too small a default to show on 2,000 tokens.
ARGUMENTS = {
  "clip_cov": {"fraction": 0.1},
  "kl_cov": {"fraction": 0.1},
  "entropy_bonus": {"coefficient": 0.1},
  "reference_kl": {"coefficient": 0.1},
  "dro": {"beta": 0.1},
  "aem": {"rate": 1.0},
  "erc": {"entropy_low": 0.1, "entropy_high": 0.1},
  "papo": {"balance": 0.3},
  "sign_weighted": {"balance": 0.3},
  "siren": {"coefficient": 1.0, "anchor": 1.0},
}


def batch_of(logp: jax.Array) -> TokenBatch:
  """Returns the tokens of the plot as functions of their log-probs."""
  shape = (len(ADVANTAGES), len(PROBABILITIES))
  advantages = np.broadcast_to(ADVANTAGES[:, None], shape).astype(np.float32)
  row, column = np.indices(shape, dtype=np.int32)
  response, position = column // BAND, row * BAND + column % BAND
  p = jnp.exp(logp)
  rest = (1 - p) / OTHERS
  entropy = -p * logp - (1 - p) * jnp.log(rest)
  old = jax.lax.stop_gradient(logp) - DRIFT * advantages
  old_rest = (1 - jnp.minimum(jnp.exp(old), 0.999)) / OTHERS
  old_entropy = -jnp.exp(old) * old - OTHERS * old_rest * jnp.log(old_rest)
  return TokenBatch(
    logp=logp,
    old_logp=old,
    advantages=advantages,
    mask=np.ones(shape, bool),
    response=response,
    position=position,
    entropy=entropy,
    old_entropy=old_entropy,
    nucleus_entropy=entropy,
    sum_p2=p**2 + OTHERS * rest**2,
    sum_p2_logp=p**2 * logp + OTHERS * rest**2 * jnp.log(rest),
    ref_logp=old,
    sampler_logp=old,
    teacher_logp=0.5 * jax.lax.stop_gradient(logp),
    teacher_kl=jax.lax.stop_gradient(logp) * logp,
    correct=(advantages > 0).astype(np.float32),
    group=response // 4,
    group_accuracy=np.full(shape, 0.5, np.float32),
    num_responses=shape[1] // BAND,
    max_length=shape[0] * BAND,
  )


def weights(name: str) -> np.ndarray:
  """Returns the weight of every token, [advantages, probabilities]."""
  made = objectives.resolve(name, ARGUMENTS.get(name))
  summed = losses.objective(*made.transforms, aggregate="token_sum")

  def loss(logp: jax.Array) -> jax.Array:
    return summed(batch_of(logp), jax.random.key(0))[0]

  rows = np.ones((len(ADVANTAGES), 1))
  logp = jnp.asarray(rows * np.log(PROBABILITIES), jnp.float32)
  return -np.asarray(jax.jit(jax.grad(loss))(logp))


def draw() -> Figure:
  """Draws one map per objective, all on one scale."""
  names = list(objectives.OBJECTIVES)
  rows = -(-len(names) // COLUMNS)
  figure = Figure(figsize=(2.0 * COLUMNS, 1.75 * rows + 0.5))
  axes = figure.subplots(rows, COLUMNS, sharex=True, sharey=True).ravel()
  norm = SymLogNorm(linthresh=0.3, vmin=-10.0, vmax=10.0)
  for name, one in zip(names, axes, strict=False):
    image = one.pcolormesh(
      PROBABILITIES, ADVANTAGES, weights(name), norm=norm, cmap="RdBu"
    )
    one.set_xscale("log")
    one.set_title(name, fontsize=8)
    one.tick_params(labelsize=7)
  for one in axes[len(names) :]:
    one.set_visible(False)
  figure.supxlabel("probability of the token", fontsize=9)
  figure.supylabel("advantage", fontsize=9)
  figure.tight_layout(rect=(0, 0, 0.94, 1))
  bar = figure.colorbar(image, cax=figure.add_axes((0.95, 0.3, 0.012, 0.4)))
  bar.set_label("weight: blue pushes up, red down", fontsize=8)
  bar.ax.tick_params(labelsize=7)
  return figure


if __name__ == "__main__":
  draw().savefig(FILE, dpi=110, metadata={"Software": None})
