"""Exact entropy dynamics on fixed states.

A state is a prompt with a prefix of a response; the policy's next-token
distribution there is known in full, so the entropy change of a step and the
covariance that the theory equates it with are computed without sampling:

  H(pi') - H(pi) ~ -Cov_{y ~ pi}(log pi(y), z'(y) - z(y))     (paper, Lemma 1)

The covariance does not change when a constant is added to the logits of a
state, so differences of log-probs stand in for differences of logits.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float
import numpy as np

from jaxrl_entropy import distributed, run_files, sharding
from jaxrl_entropy.models import transformer
from jaxrl_entropy.ops.covariance import exact_covariance
from jaxrl_entropy.training.forward import Forward
from jaxrl_entropy.training.packed_batch import (
  Rows,
  fill_rows,
  one_per_row,
  put,
  row_capacity,
)
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.training.state import TrainState, host_seeds
from jaxrl_entropy.types import Params

Distribution = Float[Array, "S V"]
Chunks = Iterator[Distribution]
Observe = Callable[[Params], Chunks]

# Values of a chunk's distributions: what is computed from one is a few times as
# large, and the distributions after a step are never there all at once.
CHUNK = 2**26


class Trace(NamedTuple):
  """A prompt with a response.

  Every token of the response gives a state: the tokens before it.

  Attributes:
    tokens: int32 ids of the prompt and the response.
    prompt: tokens of the prompt.
  """

  tokens: np.ndarray
  prompt: int  # tokens of the prompt


def choose_traces(
  prompts: Sequence[np.ndarray],
  responses: Sequence[np.ndarray],
  states: int,
  rng: np.random.Generator,
) -> list[Trace]:
  """Draws whole responses at random until they have `states` states.

  Their states share one forward pass, and so cost a fraction of what as many
  states of as many responses would.

  Args:
    prompts: ids of each response's prompt.
    responses: ids.
    states: how many are wanted, at least; fewer where all responses have fewer.
    rng: decides the order in which responses are taken.
  """
  traces: list[Trace] = []
  for i in rng.permutation(len(responses)):
    if sum(len(t.tokens) - t.prompt for t in traces) >= states:
      break
    tokens = np.concatenate([prompts[i], responses[i]])
    traces.append(Trace(tokens, len(prompts[i])))
  return traces


def save_traces(path: Path, traces: Sequence[Trace]) -> None:
  """Writes the traces so that a resumed run measures the same states.

  Args:
    path: an .npz file; it is replaced as a whole.
    traces: at least one.
  """
  partial = path.with_name("." + path.name)
  np.savez(
    partial,
    tokens=np.concatenate([t.tokens for t in traces]),
    lengths=np.array([len(t.tokens) for t in traces], np.int32),
    prompts=np.array([t.prompt for t in traces], np.int32),
  )
  partial.rename(path)


def load_traces(path: Path) -> list[Trace]:
  """Reads the traces that `save_traces` wrote."""
  with np.load(path) as file:
    traces = np.split(file["tokens"], np.cumsum(file["lengths"])[:-1])
    return [
      Trace(tokens, int(prompt))
      for tokens, prompt in zip(traces, file["prompts"], strict=True)
    ]


def make_observe(
  traces: Sequence[Trace],
  states: int,
  length: int,
  forward: Forward,
  mesh: Mesh,
  chunk: int = CHUNK,
) -> Observe:
  """Params -> log-probs [C, V] at the traces' states, float32, by chunks.

  Args:
    traces: sequences of at most `length` tokens.
    states: of more, as many are taken, evenly along the traces.
    length: row length, static.
    forward: the policy's forward pass; its temperature applies.
    mesh: where the traces are spread, by rows.
    chunk: values C * V of a chunk, at most.
  """
  layout = fill_rows(
    [t.tokens[: t.prompt] for t in traces],
    [t.tokens[t.prompt :] for t in traces],
    one_per_row(len(traces)),
    rows=row_capacity(len(traces), 1, mesh),
    length=length,
  )
  row, column = np.nonzero(layout.mask)
  kept = np.linspace(0, len(row) - 1, min(states, len(row))).round().astype(int)
  row, column = row[kept], column[kept]
  rows = jax.tree.map(lambda x: x[0], put(layout, 1, mesh))
  size = max(1, chunk // forward.model.vocab_size)

  @jax.jit
  def hidden_states(params: Params, rows: Rows) -> Float[Array, "S D"]:
    # The hidden state that predicts a token is the one before it.
    return forward.hidden(params, rows)[row, column - 1]

  @jax.jit
  def log_probs(params: Params, hidden: Float[Array, "C D"]) -> Distribution:
    head = transformer.lm_head(params, forward.model)
    logits = jnp.dot(
      hidden, head.astype(hidden.dtype), preferred_element_type=jnp.float32
    )
    logits = transformer.finish_logits(forward.model, logits)
    logits = logits[:, : forward.model.real_vocab_size]
    logits = sharding.constrain(logits, sharding.ROWS, "tensor")
    return jax.nn.log_softmax(logits / forward.temperature)

  def observe(params: Params) -> Chunks:
    hidden = hidden_states(params, rows)
    for start in range(0, len(row), size):
      yield log_probs(params, hidden[start : start + size])

  return observe


@jax.jit
def dynamics(
  before: Distribution, after: Distribution
) -> dict[str, Float[Array, ""]]:
  """Returns the means of the entropy change and of minus the covariance.

  Args:
    before: normalized log-probs at S states, nats.
    after: log-probs of the later policy at the same states.

  Returns:
    Means over the states, nats: the change of entropy, minus the covariance,
    and the entropy before.
  """

  def entropy(logp: Distribution) -> Float[Array, "S"]:
    return -jnp.sum(jnp.exp(logp) * logp, axis=-1)

  return {
    run_files.PROBE_DELTA_ENTROPY: jnp.mean(entropy(after) - entropy(before)),
    run_files.PROBE_MINUS_COVARIANCE: -jnp.mean(
      exact_covariance(before, after - before)
    ),
    "probe/entropy": jnp.mean(entropy(before)),
  }


def dynamics_of_chunks(
  before: Iterable[Distribution], after: Iterable[Distribution]
) -> dict[str, Float[Array, ""]]:
  """Computes `dynamics` over all states, one chunk in memory at a time.

  Args:
    before: chunks of states, as `dynamics` takes them.
    after: the same states in the same chunks; may be made one by one.
  """
  sums: dict[str, Float[Array, ""]] = {}
  count = 0
  for old, new in zip(before, after, strict=True):
    for key, mean in dynamics(old, new).items():
      sums[key] = sums.get(key, jnp.zeros(())) + len(old) * mean
    count += len(old)
  return {key: total / count for key, total in sums.items()}


class Probe:
  """The probe of one run, on states of its first rollout."""

  def __init__(
    self, path: Path, states: int, length: int, forward: Forward, mesh: Mesh
  ) -> None:
    """Keeps its traces at `path`, so that a resumed run has the same ones."""
    self._path, self._states = path, states
    self._length, self._forward, self._mesh = length, forward, mesh
    self._observe: Observe | None = None

  def before(
    self, state: TrainState, rollout: Rollout
  ) -> tuple[Distribution, ...]:
    """Computes the log-probs at the states before an update.

    Args:
      state: the policy; its key draws the states the first time.
      rollout: gives the states if neither this run nor the file has any.

    Returns:
      Chunks of float32 [C, V], nats.
    """
    if self._observe is None:
      self._observe = make_observe(
        self._traces(state, rollout),
        self._states,
        self._length,
        self._forward,
        self._mesh,
      )
    return tuple(self._observe(state.params))

  def changes(
    self, state: TrainState, before: tuple[Distribution, ...]
  ) -> dict[str, Float[Array, ""]]:
    """Computes `dynamics` from the policy of `before` to that of `state`.

    Args:
      state: the policy after the updates.
      before: what `before` returned ahead of them.
    """
    assert self._observe is not None
    return dynamics_of_chunks(before, self._observe(state.params))

  def _traces(self, state: TrainState, rollout: Rollout) -> list[Trace]:
    if distributed.all_gather(self._path.exists())[0]:
      return load_traces(self._path)
    rng = np.random.default_rng(host_seeds(state.key, "probe"))
    traces = choose_traces(
      rollout.prompts, rollout.responses, self._states, rng
    )
    if distributed.is_writer():
      save_traces(self._path, traces)
    return traces
