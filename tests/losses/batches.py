"""Token batches for the tests of losses, in several layouts."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy.types import TokenBatch

RESPONSES, LENGTH, GROUP = 8, 12, 2
FLOATS = ("logp", "old_logp", "advantages", "entropy", "sampler_logp")


def make(seed: int = 0, drift: float = 0.3, masked: float = 0.3) -> TokenBatch:
  """A response a row, with holes in the mask and, maybe, empty rows."""
  rng = np.random.default_rng(seed)
  shape = (RESPONSES, LENGTH)
  logp = -rng.exponential(size=shape).astype(np.float32)
  noise = rng.normal(size=(3, *shape)).astype(np.float32)
  response, position = np.indices(shape, dtype=np.int32)
  advantages = rng.normal(size=(RESPONSES, 1)).astype(np.float32)
  return TokenBatch(
    logp=logp,
    old_logp=logp + np.float32(drift) * noise[0],
    advantages=np.broadcast_to(advantages, shape).copy(),
    mask=rng.random(shape) >= masked,
    response=response,
    position=position,
    entropy=np.abs(noise[1]),
    ref_logp=logp + np.float32(drift) * noise[2],
    sampler_logp=logp + np.float32(0.1) * noise[2],
    sum_p2=np.exp(-np.abs(noise[1])),
    sum_p2_logp=-np.abs(noise[1]) * np.exp(-np.abs(noise[1])),
    values=noise[0],
    old_values=noise[1],
    returns=noise[2],
    old_entropy=np.abs(noise[1] + np.float32(drift) * noise[2]),
    teacher_logp=logp + noise[2],
    correct=(response % 3 == 0).astype(np.float32),
    group=response // GROUP,
    group_accuracy=np.float32(1 / 2) * (response // GROUP % 3),
    nucleus_entropy=np.float32(0.5) * np.abs(noise[1]),
    rank=np.floor(-logp),
    teacher_kl=np.abs(noise[2]),
    num_responses=RESPONSES,
    max_length=LENGTH,
  )


def on_device(batch: TokenBatch) -> TokenBatch:
  """Its arrays as those of JAX."""
  return jax.tree.map(jnp.asarray, batch)


def fields(batch: TokenBatch) -> dict[str, np.ndarray]:
  """Its arrays, by name."""
  return {
    name: value
    for name, value in vars(batch).items()
    if isinstance(value, np.ndarray)
  }


def with_padding(batch: TokenBatch, value: float) -> TokenBatch:
  """`value` wherever a float of a masked token stands."""
  changed = {
    name: np.where(batch.mask, array, np.float32(value))
    for name, array in fields(batch).items()
    if array.dtype == np.float32
  }
  return batch.replace(**changed)


def laid_out(
  batch: TokenBatch, rows: int, width: int, places: np.ndarray, junk: float
) -> TokenBatch:
  """The same tokens at other places of a `rows` x `width` grid.

  Args:
    batch: one response a row.
    rows: of the new grid.
    width: of the new grid.
    places: flat index of each token of `batch` in the new grid, all distinct.
    junk: what floats hold where the grid has no token.
  """

  def moved(array: np.ndarray) -> np.ndarray:
    blank = junk if array.dtype == np.float32 else 0
    grid = np.full(rows * width, blank, array.dtype)
    grid[places.ravel()] = array.ravel()
    return grid.reshape(rows, width)

  return batch.replace(**{k: moved(v) for k, v in fields(batch).items()})


def tokens(batch: TokenBatch, chosen: np.ndarray) -> set[tuple[int, int]]:
  """The chosen tokens by response and position."""
  chosen = np.asarray(chosen)
  return set(
    zip(
      batch.response[chosen].tolist(),
      batch.position[chosen].tolist(),
      strict=True,
    )
  )
