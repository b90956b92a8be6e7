"""Numbers of a model, and of the parts that a mesh splits it into."""

from collections.abc import Mapping
import dataclasses
import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # It loads JAX.
  from jaxrl_entropy.models.config import TransformerConfig

Mesh = Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Numbers of a model that its costs are made of; vectors are left out.

  Attributes:
    attention: elements of the projections around attention, all layers.
    mlp: elements of the MLPs or experts, all layers.
    mlp_share: of these that multiply a token.
    last: elements of the last projections that multiply a token, all layers;
      no gradient needs their results recomputed.
    head: elements of the LM head.
    embedding: elements of the embedding, if it is another.
    cached: elements that a token keeps in the cache, all layers.
    mixing: FLOPs for each pair of a query and a key, one layer.
    windows: of the layers, tokens; 0: none.
    stream: width of the residual stream.
    wide: elements of a token that the projections of all layers read or write.
  """

  attention: int
  mlp: int
  mlp_share: float
  last: int
  head: int
  embedding: int
  cached: int
  mixing: int
  windows: tuple[int, ...]
  stream: int
  wide: int

  @property
  def layers(self) -> int:
    """Elements of all layers."""
    return self.attention + self.mlp

  @property
  def active(self) -> float:
    """Elements of the layers that multiply a token."""
    return self.attention + self.mlp * self.mlp_share

  @property
  def total(self) -> int:
    """Elements of the model."""
    return self.layers + self.head + self.embedding

  def pairs(self, length: float, first: float = 0.0) -> float:
    """Returns pairs of a query and a key that it sees, over all layers.

    Queries are those in [first, length). A layer with a window of w tokens has
    at most w keys for each.

    Args:
      length: tokens of the sequence.
      first: tokens before the queries, such as a prompt's.
    """

    def until(end: float, window: int) -> float:
      near = min(end, window or end)
      return near**2 / 2 + (end - near) * near

    return sum(until(length, w) - until(first, w) for w in self.windows)


@functools.cache
def sizes(model: "TransformerConfig") -> Sizes:
  """Returns the sizes of a decoder."""
  width, layers = model.hidden_size, model.num_layers
  queries = model.num_heads * model.head_dim
  keys = 2 * model.num_kv_heads * model.head_dim
  experts = model.num_experts or 1
  chosen = model.num_experts_per_tok if model.num_experts else 1
  inner = model.expert_width if model.num_experts else model.intermediate_size
  head = width * model.vocab_size
  return Sizes(
    attention=layers * width * (2 * queries + keys),
    mlp=layers * experts * 3 * width * inner,
    mlp_share=chosen / experts,
    last=layers * chosen * width * inner,
    head=head,
    embedding=0 if model.tie_embeddings else head,
    cached=layers * keys,
    mixing=4 * queries,
    windows=model.windows,
    stream=width,
    wide=layers * (2 * queries + keys + 4 * chosen * inner),
  )


def shards(mesh: Mesh) -> int:
  """Returns the number of parts that rows and slots are split into."""
  return mesh["data"] * mesh["fsdp"] * experts(mesh)


def experts(mesh: Mesh) -> int:
  """Returns the number of parts that experts are split into, tensor aside."""
  return mesh.get("expert", 1)


def held(size: Sizes, mesh: Mesh) -> float:
  """Returns elements of the layers that a part of the expert axis uses.

  Args:
    size: of the whole model.
    mesh: size of each axis, by name; without "expert" no experts are split.
  """
  return size.attention + size.mlp / experts(mesh)
