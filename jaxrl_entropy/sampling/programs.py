"""Inputs and outputs of the sampler's device programs, and the small programs.

The programs are pure functions over slots and pages. Each sees one shard of the
mesh's data axes; `engine` maps them over all shards. `decode` has its own file.
"""

from flax import struct
import jax
from jaxtyping import Array, Bool, Int, UInt

from jaxrl_entropy import sharding
from jaxrl_entropy.models import decoding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.decoding import Cache
from jaxrl_entropy.ops.attention import paged
from jaxrl_entropy.ops.attention.paged import View
from jaxrl_entropy.sampling.drafts import DraftState
from jaxrl_entropy.sampling.logits import AnyArray, Controls, Draw
from jaxrl_entropy.types import Params


@struct.dataclass
class PrefillRows:
  """Consecutive tokens of some prompts, one chunk per row.

  Attributes:
    tokens: token ids, padded at the end.
    table: pages of each prompt.
    start: position of each row's first token.
    count: number of real tokens in each row.
  """

  tokens: Int[AnyArray, "R C"]
  table: Int[AnyArray, "R M"]
  start: Int[AnyArray, "R"]
  count: Int[AnyArray, "R"]


@struct.dataclass
class PageCopies:
  """Pages to copy; the first `count[0]` entries of a shard are real.

  Attributes:
    source: page to read.
    target: page to overwrite.
    count: real entries.
  """

  source: Int[AnyArray, "B"]
  target: Int[AnyArray, "B"]
  count: Int[AnyArray, "1"]


class Slots(struct.PyTreeNode):
  """The sequences being decoded, one per slot.

  Attributes:
    token: last token of the sequence, not in the cache yet.
    position: its position.
    budget: tokens to produce in this call; 0 marks an idle slot.
    seed: the request's seed.
    sample: index of the continuation in its request.
    stop_ids: tokens that end the sequence; -1 in unused entries.
    controls: sampling settings.
    table: pages of the sequence.
    min_finished: [1], return once this many sequences have finished.
    drafts: state of drafting; None in a program without drafts.
  """

  token: Int[AnyArray, "B"]
  position: Int[AnyArray, "B"]
  budget: Int[AnyArray, "B"]
  seed: UInt[AnyArray, "B"]
  sample: Int[AnyArray, "B"]
  stop_ids: Int[AnyArray, "B S"]
  controls: Controls
  table: Int[AnyArray, "B M"]
  min_finished: Int[AnyArray, "1"]
  drafts: DraftState | None = None

  @property
  def active(self) -> Bool[AnyArray, "B"]:
    """Which slots still produce tokens."""
    return self.budget > 0


class Decoded(struct.PyTreeNode):
  """Tokens sampled by `decode`; slot b has `count[b]` of them.

  Attributes:
    draws: tokens and their log-probs, [B, steps]; any values after `count`.
    count: number of tokens of each slot.
    stopped: whether the slot's last token is one of its stop ids.
    drafts: state of drafting, without the history.
  """

  draws: Draw
  count: Int[AnyArray, "B"]
  stopped: Bool[AnyArray, "B"]
  drafts: DraftState | None = None


def prefill(
  weights: Params,
  cache: Cache,
  rows: PrefillRows,
  *,
  config: TransformerConfig,
  pages_per_block: int,
) -> Cache:
  """Returns the cache with the rows' tokens in it.

  Args:
    weights: as `models.decoding.weights` makes them.
    cache: pages of this shard; updated in place where the caller donates it.
    rows: chunks of prompts and the pages that they fill.
    config: the model; static.
    pages_per_block: pages of a row attended to at one time; static.
  """
  in_use = paged.pages_in_use(rows.start, rows.count, cache.page_size)
  in_use = jax.lax.pmax(in_use, sharding.ROWS)
  view = View(rows.table, rows.start, rows.count, in_use, pages_per_block)
  _, cache = decoding.forward(weights, config, cache, rows.tokens, view)
  return cache


def copy_pages(weights: None, cache: Cache, copies: PageCopies) -> Cache:
  """Returns the cache with some pages copied, for sequences to write to.

  Args:
    weights: unused: every program takes the same first two arguments.
    cache: pages of this shard; updated in place where the caller donates it.
    copies: source and target pages of this shard.
  """
  del weights
  return paged.copy(cache, copies.source, copies.target, copies.count[0])


def read_routes(
  weights: None, cache: Cache, table: Int[AnyArray, "B M"]
) -> tuple[Cache, Int[Array, "B T L k"]]:
  """Returns the cache, and the experts of all tokens in some pages.

  Args:
    weights: unused: every program takes the same first two arguments.
    cache: pages of this shard, with recorded routes.
    table: pages of each sequence, in order; 0 behind the last.

  Returns:
    The cache as it was, and expert ids of each token in each layer. T is M
    pages of tokens; values behind a sequence's end do not matter.
  """
  del weights
  assert cache.routes is not None
  pages = cache.routes[table]
  return cache, pages.reshape(len(table), -1, *pages.shape[3:])
