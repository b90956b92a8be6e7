"""Exact entropy dynamics on fixed states.

A state is a prompt with a prefix of a response; the policy's next-token
distribution there is known in full, so the entropy change of a step and the
covariance that the theory equates it with are computed without sampling:

  H(pi') - H(pi) ~ -Cov_{y ~ pi}(log pi(y), z'(y) - z(y))     (paper, Lemma 1)

The covariance does not change when a constant is added to the logits of a
state, so differences of log-probs stand in for differences of logits.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int
import numpy as np

from jaxrl_entropy import sharding
from jaxrl_entropy.models import transformer
from jaxrl_entropy.ops.covariance import exact_covariance
from jaxrl_entropy.training import multihost
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.training.state import TrainState, host_seeds
from jaxrl_entropy.training.step import Forward
from jaxrl_entropy.types import Params

Distribution = Float[Array, "S V"]
Observe = Callable[[Params], Distribution]


def choose_states(
  prompts: Sequence[np.ndarray],
  responses: Sequence[np.ndarray],
  count: int,
  rng: np.random.Generator,
) -> list[np.ndarray]:
  """`count` token sequences that each end just before a sampled token.

  Every response token is equally likely to be chosen.
  """
  owner = np.repeat(np.arange(len(responses)), [len(r) for r in responses])
  first = np.cumsum([0] + [len(r) for r in responses[:-1]])
  chosen = rng.choice(len(owner), size=min(count, len(owner)), replace=False)
  return [
    np.concatenate([prompts[i], responses[i][: token - first[i]]])
    for token, i in zip(chosen, owner[chosen], strict=True)
  ]


def save_states(path: Path, states: Sequence[np.ndarray]) -> None:
  """Writes the states so that a resumed run measures the same ones."""
  partial = path.with_name("." + path.name)
  lengths = np.array([len(s) for s in states], np.int32)
  np.savez(partial, tokens=np.concatenate(states), lengths=lengths)
  partial.rename(path)


def load_states(path: Path) -> list[np.ndarray]:
  with np.load(path) as file:
    return np.split(file["tokens"], np.cumsum(file["lengths"])[:-1])


def make_observe(
  states: Sequence[np.ndarray], length: int, forward: Forward, mesh: Mesh
) -> Observe:
  """A jitted params -> log-probs [S, V] at the states, float32.

  Args:
    states: token sequences, each at most `length` long.
    length: row length, static.
    forward: the policy's forward pass; its temperature applies.
    mesh: where the states are spread, by rows.
  """
  shards = mesh.shape["data"] * mesh.shape["fsdp"]
  rows = -(-len(states) // shards) * shards
  tokens = np.zeros((rows, length), np.int32)
  last = np.zeros(rows, np.int32)
  for i, state in enumerate(states):
    tokens[i, : len(state)] = state
    last[i] = len(state) - 1
  where = sharding.row_sharding(mesh)
  inputs = multihost.place(tokens, where), multihost.place(last, where)

  @jax.jit
  def observe(
    params: Params, tokens: Int[Array, "R L"], last: Int[Array, "R"]
  ) -> Distribution:
    columns = jnp.arange(length, dtype=jnp.int32)
    valid = columns[None] <= last[:, None]
    hidden = transformer.hidden_states(
      params,
      forward.model,
      tokens,
      jnp.broadcast_to(columns, tokens.shape),
      valid.astype(jnp.int32),
      attention=forward.attention,
    )
    at = jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0]
    head = transformer.lm_head(params, forward.model)
    logits = jnp.dot(
      at.astype(head.dtype), head, preferred_element_type=jnp.float32
    )
    logits = sharding.constrain(logits, sharding.ROWS, "tensor")
    return jax.nn.log_softmax(logits / forward.temperature)

  return lambda params: observe(params, *inputs)[: len(states)]


@jax.jit
def dynamics(
  before: Distribution, after: Distribution
) -> dict[str, Float[Array, ""]]:
  """Entropy change and minus the exact covariance, means over the states."""

  def entropy(logp: Distribution) -> Float[Array, "S"]:
    return -jnp.sum(jnp.exp(logp) * logp, axis=-1)

  return {
    "probe/delta_entropy": jnp.mean(entropy(after) - entropy(before)),
    "probe/minus_cov": -jnp.mean(exact_covariance(before, after - before)),
    "probe/entropy": jnp.mean(entropy(after)),
  }


class Probe:
  """The probe of one run, on states of its first rollout."""

  def __init__(
    self, path: Path, count: int, length: int, forward: Forward, mesh: Mesh
  ) -> None:
    """Keeps the states at `path`, so that a resumed run has the same ones."""
    self._path, self._count = path, count
    self._length, self._forward, self._mesh = length, forward, mesh
    self._observe: Observe | None = None

  def observe(self, state: TrainState, rollout: Rollout) -> Distribution:
    """Log-probs [S, V] at the states, which `rollout` gives if there are none
    yet."""
    if self._observe is None:
      states = self._states(state, rollout)
      self._observe = make_observe(
        states, self._length, self._forward, self._mesh
      )
    return self._observe(state.params)

  def _states(self, state: TrainState, rollout: Rollout) -> list[np.ndarray]:
    if multihost.share(self._path.exists())[0]:
      return load_states(self._path)
    rng = np.random.default_rng(host_seeds(state.key, 0, 0))
    states = choose_states(rollout.prompts, rollout.responses, self._count, rng)
    if multihost.is_writer():
      save_states(self._path, states)
    return states
