"""Packing of responses into rows of fixed shape, and unpacking of results."""

from collections.abc import Iterable, Sequence
import dataclasses
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict
import numpy as np

from jaxrl_entropy import distributed
from jaxrl_entropy.data.packing import first_fit, share_prompts
from jaxrl_entropy.training import packed_batch
from jaxrl_entropy.training.forward import ForwardPass, forward_slices
from jaxrl_entropy.training.packed_batch import Placement, Rows
from jaxrl_entropy.training.policy import row_length
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.types import Params


@dataclasses.dataclass(frozen=True)
class Layout:
  """Static sizes of the rows of a run.

  Attributes:
    mesh: where the rows are spread.
    row_length: tokens of a row: the longest prompt with the longest response.
    response_length: tokens of the longest response.
    capacity: responses that are scored at a time.
    micro_batches: slices of one mini-batch.
    updates: mini-batches of one rollout.
    pack: several responses share a row where they fit. The shapes stay those
      of one response a row; slices left without tokens are skipped.
    share: the responses of a group in a row share its prompt too.
  """

  mesh: Mesh
  row_length: int
  response_length: int
  capacity: int
  micro_batches: int
  updates: int
  pack: bool
  share: bool = False

  @property
  def slice_rows(self) -> int:
    """Rows of one micro-batch of a whole rollout."""
    slices = self.updates * self.micro_batches
    rows = packed_batch.row_capacity(self.capacity, slices, self.mesh)
    return rows // slices

  def minibatch(
    self, rollout: Rollout, names: Iterable[str], responses: int
  ) -> Rows:
    """Returns a mini-batch of at most `responses` responses on the mesh.

    Args:
      rollout: the responses.
      names: of the rollout's signals that go along; `embedding` is an outcome.
      responses: capacity, static.
    """
    capacity = packed_batch.row_capacity(
      responses, self.micro_batches, self.mesh
    )
    rows = self._fill(rollout, capacity)
    names = set(names)
    rows = packed_batch.with_signals(
      rows, {n: rollout.signals[n] for n in names - {"embedding"}}
    )
    if "embedding" in names:
      embedding = rollout.outcomes["embedding"]
      missing = responses - len(embedding)
      rows = rows.replace(embedding=np.pad(embedding, ((0, missing), (0, 0))))
    return packed_batch.put(rows, self.micro_batches, self.mesh)

  def score(
    self, forward: ForwardPass, params: Params, rollout: Rollout
  ) -> dict[str, np.ndarray]:
    """Computes statistics of the tokens of some responses.

    Args:
      forward: over all micro-batches, jitted, as `score_of` returns it.
      params: of the model that it runs.
      rollout: at most `capacity` responses.

    Returns:
      Each statistic by name, [responses, tokens] on the host, 0 behind a
      response; `embedding` is [responses, D].
    """
    count = len(rollout.responses)
    slices = self.updates * self.micro_batches
    capacity = packed_batch.row_capacity(self.capacity, slices, self.mesh)
    rows = self._fill(rollout, capacity)
    stats = forward(params, packed_batch.put(rows, slices, self.mesh))

    def unpack(name: str, values: jax.Array) -> np.ndarray:
      host = distributed.fetch(values)
      if name == "embedding":
        return host[:count]
      return packed_batch.gather(host, rows, count, self.response_length)

    return {
      name: unpack(name, values)
      for name, values in vars(stats).items()
      if values is not None
    }

  def _fill(self, rollout: Rollout, capacity: int) -> Rows:
    placement, starts = self._place(rollout)
    return packed_batch.fill_rows(
      rollout.prompts,
      rollout.responses,
      placement,
      rows=capacity,
      length=self.row_length,
      starts=starts,
      routes=rollout.routes,
    )

  def _place(self, rollout: Rollout) -> tuple[Placement, Sequence[int] | None]:
    before = [len(prompt) for prompt in rollout.prompts]
    behind = [len(response) for response in rollout.responses]
    if self.share:
      # All but the last token, from which every response goes on by itself.
      return share_prompts(
        rollout.groups.tolist(),
        [size - 1 for size in before],
        [size + 1 for size in behind],
        self.row_length,
      )
    if self.pack:
      sizes = [p + r for p, r in zip(before, behind, strict=True)]
      return first_fit(sizes, self.row_length), None
    return packed_batch.one_per_row(len(behind)), None


def make_layout(config: ConfigDict, mesh: Mesh) -> Layout:
  """Returns the layout of a config on a mesh.

  Args:
    config: of the run.
    mesh: devices that train.
  """
  rollout, optimizer = config.rollout, config.optimizer
  return Layout(
    mesh,
    row_length=row_length(config),
    response_length=rollout.max_response_length,
    capacity=rollout.prompts_per_step * rollout.group_size,
    micro_batches=optimizer.micro_batches,
    updates=rollout.num_minibatches,
    pack=rollout.pack,
    share=rollout.share_prompts,
  )


def score_of(forward: ForwardPass) -> ForwardPass:
  """Returns a jitted forward pass: rows [M, R, L] to values [M * R, L].

  Rows come out in the order they had on the host. The `embedding` of each
  response, which one micro-batch has and the others have as 0, is [N, D].
  """

  @jax.jit
  def score(params: Params, rows: Rows) -> Any:
    stats = forward_slices(forward, params, rows)
    embedding = getattr(stats, "embedding", None)
    stats = jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), stats)
    if embedding is None:
      return stats
    return stats.replace(embedding=embedding.sum(0))

  return score
