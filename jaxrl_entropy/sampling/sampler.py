"""Continuous batching over a mesh: requests in, completions out."""

from collections.abc import Callable, Iterator, Sequence as ListLike
import dataclasses
from typing import Any
import weakref

import jax
from jax.sharding import Mesh

from jaxrl_entropy import sharding
from jaxrl_entropy.errors import nearest
from jaxrl_entropy.models import decoding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.ops.attention import ragged
from jaxrl_entropy.sampling import program_inputs, tuning as tuning_lib
from jaxrl_entropy.sampling.batch import Batch
from jaxrl_entropy.sampling.draft_cost import DraftCost, Drafting, DraftStats
from jaxrl_entropy.sampling.engine import Engine, Sizes
from jaxrl_entropy.sampling.limits import MAX_STOP_IDS, Limits
from jaxrl_entropy.sampling.request import Completion, Request
from jaxrl_entropy.sampling.stops import Decode
from jaxrl_entropy.sampling.stream import Event, Stream
from jaxrl_entropy.sampling.tuning import Tuning
from jaxrl_entropy.types import Params

__all__ = ("Completion", "Event", "Request", "Sampler", "Stream")

DEFAULT_MAX_LENGTH = 2048


class Sampler:
  """A sampler with continuous batching; compiles once, serves any call.

  Each prompt is computed once, in chunks, and its n continuations share its
  pages of the cache; a slot that becomes idle takes the next continuation. On a
  mesh, slots and pages are split over `sharding.ROWS`, heads and the vocabulary
  over tensor, experts over expert and tensor. In a job of several processes
  each process brings its own requests, and all of them must call at the same
  time.

  Attributes:
    mesh: the devices.

  Example:
    >>> sampler = Sampler(config, max_length=512)
    >>> request = Request(prompt=(5, 3, 8), n=4, max_tokens=100, seed=0)
    >>> [completions] = sampler.generate(params, [request])
    >>> completions[0].tokens
  """

  def __init__(
    self,
    config: TransformerConfig,
    mesh: Mesh | None = None,
    *,
    slots: int = 16,
    max_prompt_length: int | None = None,
    max_length: int | None = None,
    kv_tokens: int = 0,
    weight_dtype: str = "",
    decode_text: Decode | None = None,
    draft_tokens: int = 0,
    routes: bool = False,
    tuning: Tuning | None = None,
  ) -> None:
    """Configures the sampler; memory is allocated by its calls.

    Args:
      config: the model.
      mesh: devices with the axes of `sharding.make_mesh`; by default all
        devices, on the data axis.
      slots: sequences decoded at a time, on the whole mesh.
      max_prompt_length: tokens of the longest prompt; by default
        max_length - 1.
      max_length: tokens of the longest prompt with its continuation; by default
        that of the model, but at most 2048.
      kv_tokens: tokens that the cache holds, on the whole mesh; 0 means enough
        for every slot at `max_length`.
      weight_dtype: dtype of the sampler's copy of the weights: "float32",
        "bfloat16", "int8", or "" for the model's compute dtype.
      decode_text: a tokenizer's `decode`, needed for stop strings.
      draft_tokens: tokens of a prompt look-up draft, verified in one step where
        few sequences run; 0 turns drafts off. They change no completion, and
        are used only while they save time (see `sampling.drafts`).
      routes: record the experts of each token, see `Completion.routes`.
      tuning: sizes of the programs; by default those for the mesh's platform.

    Raises:
      ValueError: if a size is out of range or the dtype is unknown, or routes
        are asked of a model without experts.
    """
    self.mesh = mesh = mesh or sharding.make_mesh(data=-1)
    if max_length is None:
      max_length = min(config.max_length, DEFAULT_MAX_LENGTH)
    if max_prompt_length is None:
      max_prompt_length = max_length - 1
    _check_sizes(
      config,
      weight_dtype,
      kv_tokens,
      draft_tokens,
      slots=slots,
      max_prompt_length=max_prompt_length,
      max_length=max_length,
    )
    if routes and not config.num_experts:
      raise ValueError("routes are asked for, and the model has no experts")
    tuning = tuning or tuning_lib.for_mesh(mesh)
    shards = sharding.row_parts(mesh)
    page_size = min(tuning.page_size, _round_up(max_length, 8))
    pages_per_sequence = -(-max_length // page_size)
    slots = -(-slots // shards)
    # By default one page per slot beyond its own, for prefixes that wait.
    pages = slots * (pages_per_sequence + 1)
    if kv_tokens:
      pages = kv_tokens // shards // page_size
    chunk = min(tuning.chunk, _round_up(max_prompt_length, 8))
    kernel = tuning.kernel and ragged.supports(
      config.head_dim, config.num_kv_heads, mesh
    )
    self._sizes = Sizes(
      batch_buckets=tuning.batch_buckets(slots),
      pages=pages + 1,
      page_size=page_size,
      pages_per_sequence=pages_per_sequence,
      chunk=chunk,
      prefill_buckets=tuning.prefill_buckets(chunk),
      steps=tuning.steps,
      stop_ids=MAX_STOP_IDS,
      pages_per_block=tuning.pages_per_block,
      kernel=kernel,
      transposed_kernels=tuning.transposed_kernels,
      draft_tokens=draft_tokens,
      draft_bucket=tuning.draft_bucket,
      routes=routes,
    )
    self._engine = Engine(config, mesh, self._sizes, weight_dtype)
    self._decode_text = decode_text
    self._drafting = Drafting(DraftCost(tuning.draft_cost))
    self._reported = DraftStats()
    self._streams: weakref.WeakSet[Stream] = weakref.WeakSet()
    self._limits = Limits(
      max_prompt_length=max_prompt_length,
      max_length=max_length,
      vocab_size=config.vocab_size + config.prefix_length,
      page_size=page_size,
      pages=pages,
      shards=shards,
      has_decode_text=decode_text is not None,
    )

  @property
  def draft_stats(self) -> DraftStats:
    """Counts of drafted and accepted tokens since the sampler was made."""
    return self._drafting.stats

  def metrics(self) -> dict[str, float]:
    """Returns what was done since the last call, by metric.

    Shares of drafts, where there are drafts; bytes and seconds of the weights
    that came from other devices, where they did.
    """
    now = dataclasses.replace(self.draft_stats)
    before, self._reported = self._reported, now
    metrics, engine = (now - before).metrics(), self._engine
    if engine.transferred_bytes:
      metrics["throughput/transfer_bytes"] = float(engine.transferred_bytes)
      metrics["throughput/transfer_s"] = engine.transferred_seconds
      engine.transferred_bytes, engine.transferred_seconds = 0, 0.0
    return metrics

  @property
  def compilations(self) -> int:
    """Number of compiled programs: one per bucket, and one to copy pages."""
    return self._engine.compilations

  def generate(
    self,
    params: Params,
    requests: ListLike[Request],
    progress: Callable[[int, int], None] | None = None,
    version: int = 0,
  ) -> list[list[Completion]]:
    """Samples all continuations of all requests.

    Args:
      params: the policy's parameters, in any layout over the mesh, or over a
        mesh of other devices. The sampler makes its own copy of them and drops
        it at the end.
      requests: the requests.
      progress: called before each step of the decoder, at the same one by all
        processes, with the numbers of this process's finished and of all its
        continuations; an exception that it raises ends the sampling.
      version: of the parameters, recorded in `Completion.versions`.

    Returns:
      The `n` completions of each request, in the order of the requests.

    Raises:
      ValueError: if a request can never fit; the message says why.
    """
    completions: list[list] = [[None] * request.n for request in requests]
    total, finished = sum(request.n for request in requests), 0
    stream = self._begin(params, requests, version)
    while stream.unfinished:
      if progress is not None:
        progress(finished, total)
      for event in stream.advance():
        if event.completion is not None:
          completions[event.request][event.sample] = event.completion
          finished += 1
    return completions

  def stream(
    self, params: Params, requests: ListLike[Request], version: int = 0
  ) -> Iterator[Event]:
    """Samples like `generate` and yields events while it decodes.

    A continuation is in an event as soon as it ends, and a request's group with
    the last of its continuations, so that rewards can be computed while others
    are still decoded. The weights are copied before this returns: an optimizer
    may overwrite `params` while the events are consumed.

    Args:
      params: the policy's parameters, as for `generate`.
      requests: the requests.
      version: of the parameters, recorded in `Completion.versions`.

    Returns:
      An iterator over events; the next tokens are decoded when it is advanced.

    Raises:
      ValueError: if a request can never fit; the message says why.
    """
    return _events(self._begin(params, requests, version))

  def _begin(
    self, params: Params, requests: ListLike[Request], version: int
  ) -> Stream:
    """Returns a stream that holds the requests."""
    self.check(requests)
    stream = self.open(self.copy_weights(params), version)
    for request in requests:
      stream.add(request)
    return stream

  def open(self, weights: Params, version: int = 0) -> Stream:
    """Returns a stream without requests, to which they may be added any time.

    Args:
      weights: as `copy_weights` returns them.
      version: their version, recorded in `Completion.versions`.
    """
    with jax.set_mesh(self.mesh):
      batch = Batch(
        self._engine,
        self._sizes,
        weights,
        version,
        self._decode_text,
        self._drafting,
      )
    stream = Stream(batch, self.mesh, self._limits)
    self._streams.add(stream)
    return stream

  def copy_weights(self, params: Params) -> Params:
    """Returns a copy of parameters in the sampler's layout, on its devices.

    Args:
      params: as for `generate`; an optimizer may overwrite them afterwards.
    """
    with jax.set_mesh(self.mesh):
      return self._engine.weights(params)

  def update_params(self, params: Params, version: int) -> None:
    """Replaces the weights of the streams in progress.

    Tokens that are decoded after the current step come from the new weights,
    and `Completion.versions` tells them apart. What is cached for the old
    weights is computed again, so each token has the log-prob of its version
    given all tokens before it. The weights are copied before this returns.

    Args:
      params: the new parameters.
      version: their version.

    Raises:
      ValueError: if no stream is in progress, or in a job of several processes,
        which could not agree on the step.
    """
    if jax.process_count() > 1:
      raise ValueError(
        "update_params works in jobs of one process only: let the stream end "
        "with short max_tokens and continue with Request.partial"
      )
    streams = list(self._streams)
    if not streams:
      raise ValueError(
        "update_params needs a stream in progress; pass the parameters to "
        "stream() or generate() instead"
      )
    weights = self.copy_weights(params)
    for stream in streams:
      stream.update(weights, version)

  def check(self, requests: ListLike[Request]) -> None:
    """Raises ValueError for a request that can never run, and says why."""
    for index, request in enumerate(requests):
      self._limits.check(request, f"request {index}")

  def programs(
    self, params: Params
  ) -> dict[str, tuple[Callable[..., Any], tuple[Any, Any, Any]]]:
    """Returns the main jitted programs with their argument shapes, by name.

    Computes nothing; it is for compiling ahead of time.

    Args:
      params: the policy's parameters, or their shapes.
    """
    sizes, engine = self._sizes, self._engine
    idle: list[list] = [[] for _ in range(engine.shards)]
    rows = program_inputs.prefill_rows(idle, sizes.prefill_buckets[-1], sizes)
    slots = program_inputs.slot_rows(
      idle, sizes.slots, sizes, [1] * engine.shards
    )
    return {
      "prefill": (engine.prefill, engine.shapes(params, rows)),
      "decode": (engine.decode, engine.shapes(params, slots)),
    }


def _events(stream: Stream) -> Iterator[Event]:
  """Yields all events until every request of the stream is complete."""
  while stream.unfinished:
    yield from stream.advance()


def _check_sizes(
  config: TransformerConfig,
  weight_dtype: str,
  kv_tokens: int,
  draft_tokens: int,
  **sizes: int,
) -> None:
  """Raises ValueError for sizes and dtypes that no sampler can have."""
  for name, size in sizes.items():
    if size < 1:
      raise ValueError(f"{name} is {size}: it must be at least 1")
  for name, size in (("kv_tokens", kv_tokens), ("draft_tokens", draft_tokens)):
    if size < 0:
      raise ValueError(f"{name} is {size}: it must not be negative")
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
