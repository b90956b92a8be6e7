"""Continuous batching over a mesh: requests in, completions out."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence as ListLike
import itertools
from typing import Any

from jax.sharding import Mesh
import numpy as np

from jaxrl_entropy.errors import nearest
from jaxrl_entropy.models import decoding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.ops import ragged_attention
from jaxrl_entropy.sampling import platform, rows
from jaxrl_entropy.sampling.batch import Batch, Event
from jaxrl_entropy.sampling.engine import Engine, Sizes
from jaxrl_entropy.sampling.limits import MAX_STOP_IDS, Limits
from jaxrl_entropy.sampling.request import Completion, Request
from jaxrl_entropy.sampling.sequences import (
  Sample,
  prefixes_of,
  samples_of,
)
from jaxrl_entropy.sampling.stops import Decode
from jaxrl_entropy.types import Params

__all__ = ("Completion", "Event", "Request", "Sampler")


class Sampler:
  """Samples from a model; compiles once and serves any number of calls.

  Every prompt is computed once, in chunks, and its n continuations share its
  pages of the cache; a slot that falls idle takes the next continuation. On a
  mesh, slots and pages are split over the data and fsdp axes, heads and the
  vocabulary over tensor. In a job of several processes each brings its own
  requests, and all must call at the same time.
  """

  def __init__(
    self,
    config: TransformerConfig,
    mesh: Mesh,
    *,
    slots: int,
    max_prompt_length: int,
    max_length: int,
    kv_tokens: int = 0,
    weight_dtype: str = "",
    decode_text: Decode | None = None,
    choices: platform.Platform | None = None,
  ):
    """Allocates nothing yet.

    Args:
      config: the model.
      mesh: the devices, with the axes of `sharding.make_mesh`.
      slots: sequences decoded at a time, on the whole mesh.
      max_prompt_length: tokens of the longest prompt.
      max_length: tokens of the longest prompt with its continuation.
      kv_tokens: tokens that the cache holds, on the whole mesh; 0: enough for
        every slot at `max_length`.
      weight_dtype: of the sampler's copy of the weights: "float32",
        "bfloat16", "int8", or by default the model's compute dtype.
      decode_text: a tokenizer's `decode`; stop strings need it.
      choices: sizes of the programs; by default those for the mesh's platform.

    Raises:
      ValueError: a size is out of range, or the dtype is not one of these.
    """
    _check_sizes(
      config,
      weight_dtype,
      kv_tokens,
      slots=slots,
      max_prompt_length=max_prompt_length,
      max_length=max_length,
    )
    choices = choices or platform.of(mesh)
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    size = min(choices.page_size, _round_up(max_length, 8))
    columns = -(-max_length // size)
    slots = -(-slots // parts)
    # By default, besides the slots' own, a page a slot for prefixes that wait.
    pages = kv_tokens // parts // size if kv_tokens else slots * (columns + 1)
    chunk = min(choices.chunk, _round_up(max_prompt_length, 8))
    self._sizes = Sizes(
      widths=choices.widths(slots),
      pages=pages + 1,
      page_size=size,
      columns=columns,
      chunk=chunk,
      fill_widths=choices.fill_widths(chunk),
      steps=choices.steps,
      stop_ids=MAX_STOP_IDS,
      span=choices.span,
      kernel=choices.kernel
      and ragged_attention.supports(config.head_dim, config.num_kv_heads, mesh),
      weights_first=choices.weights_first,
    )
    self._engine = Engine(config, mesh, self._sizes, weight_dtype)
    self._decode_text = decode_text
    self._limits = Limits(
      max_prompt_length=max_prompt_length,
      max_length=max_length,
      vocabulary=config.vocab_size,
      page_size=size,
      pages=pages,
      parts=parts,
      decodes=decode_text is not None,
    )

  @property
  def compilations(self) -> int:
    """Programs compiled so far: one a width, and one to copy pages."""
    return self._engine.compilations

  def generate(
    self,
    params: Params,
    requests: ListLike[Request],
    progress: Callable[[int, int], None] | None = None,
  ) -> list[list[Completion]]:
    """The continuations of every request, in the order of the requests.

    Args:
      params: the policy's parameters, in any layout over the mesh; the sampler
        makes its own copy of them and drops it at the end.
      requests: what to sample.
      progress: called with the number of ended and of all continuations.

    Raises:
      ValueError: a request can never fit; the message says why.
    """
    completions: list[list] = [[None] * request.n for request in requests]
    total, ended = sum(request.n for request in requests), 0
    for event in self.stream(params, requests):
      if event.completion is not None:
        completions[event.request][event.sample] = event.completion
        ended += 1
        if progress is not None:
          progress(ended, total)
    return completions

  def stream(
    self, params: Params, requests: ListLike[Request]
  ) -> Iterator[Event]:
    """As `generate`, but tells of tokens as they come.

    The weights are copied before this returns, so that an optimiser may
    overwrite `params` while the events are still being drawn: this is how
    rollouts run ahead of training.
    """
    self.check(requests)
    samples = [samples_of(r, owner) for owner, r in enumerate(requests)]
    queue = deque(p for group in samples for p in prefixes_of(group))
    batch = Batch(self._engine, self._sizes, queue, params, self._decode_text)
    return self._events(itertools.chain.from_iterable(samples), batch)

  def check(self, requests: ListLike[Request]) -> None:
    """Raises ValueError for a request that could never run, and says why."""
    for index, request in enumerate(requests):
      self._limits.check(request, f"request {index}")

  def _events(self, samples: Iterable[Sample], batch: Batch) -> Iterator[Event]:
    nothing = np.zeros(0, np.int32)
    for sample in samples:
      if not sample.remaining:
        yield Event(sample.owner, sample.index, nothing, sample.completion())
    while batch.unfinished:
      yield from batch.advance()

  def programs(
    self, params: Params
  ) -> dict[str, tuple[Callable[..., Any], tuple[Any, Any, Any]]]:
    """The main jitted programs and the shapes they are called with, by name.

    Nothing is computed; it is for compiling ahead of time.

    Args:
      params: the policy's parameters, or their shapes.
    """
    sizes, engine = self._sizes, self._engine
    idle: list[list] = [[] for _ in range(engine.parts)]
    chunk = rows.chunk_rows(
      idle, sizes.fill_widths[-1], sizes.chunk, sizes.columns
    )
    slots = rows.slot_rows(idle, sizes.slots, sizes, [1] * engine.parts)
    return {
      "prefill": (engine.prefill, engine.shapes(params, chunk)),
      "decode": (engine.decode, engine.shapes(params, slots)),
    }


def _check_sizes(
  config: TransformerConfig, weight_dtype: str, kv_tokens: int, **sizes: int
) -> None:
  """Raises ValueError for what no sampler can have."""
  for name, size in sizes.items():
    if size < 1:
      raise ValueError(f"{name} is {size}: it must be at least 1")
  if kv_tokens < 0:
    raise ValueError(f"kv_tokens is {kv_tokens}: it must not be negative")
  if sizes["max_length"] > config.max_length:
    raise ValueError(
      f"max_length is {sizes['max_length']}, and the model was made for "
      f"{config.max_length} tokens"
    )
  if weight_dtype not in decoding.WEIGHT_DTYPES:
    hint = nearest(weight_dtype, decoding.WEIGHT_DTYPES)
    raise ValueError(f"weight_dtype is {weight_dtype!r}; {hint}")


def _round_up(value: int, multiple: int) -> int:
  return -(-value // multiple) * multiple
