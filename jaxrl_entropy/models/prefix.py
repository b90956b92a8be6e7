"""A soft prefix (2104.08691): trained vectors in front of every sequence.

They are further rows of the embedding, under ids that no tokenizer has, from
`vocab_size` on. To everything but the embedding they are the first tokens of a
prompt: packing, positions, the cache and its sharing need not know of them.
"""

import zlib

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxrl_entropy.types import Params

NAME = "prefix"


def add(
  params: Params, length: int, vocabulary: int, key: Key[Array, ""]
) -> Params:
  """Returns `params` with a prefix that starts as the vectors of random tokens.

  Args:
    params: a model's parameters.
    length: vectors, at least 1.
    vocabulary: ids below this are drawn.
    key: draws them, with a key of its own.

  Raises:
    ValueError: for a length below 1.
  """
  if length < 1:
    raise ValueError(f"the length of a soft prefix is {length}; at least 1")
  key = jax.random.fold_in(key, zlib.crc32(NAME.encode()))
  ids = jax.random.randint(key, (length,), 0, vocabulary)
  vectors = params["embed"]["embedding"][ids].astype(jnp.float32)
  return {**params, "embed": {**params["embed"], NAME: vectors}}


def look_up(
  embed: Params, tokens: Int[Array, "*B"], first: int, dtype: str
) -> Float[Array, "*B D"]:
  """Returns the vector of each token, of the vocabulary or of the prefix.

  Args:
    embed: the embedding, and maybe a prefix [k, D].
    tokens: ids of the vocabulary, and those of the prefix.
    first: id of the first vector of the prefix.
    dtype: of the result.
  """
  vectors = embed["embedding"][tokens].astype(dtype)
  if NAME not in embed:
    return vectors
  index = tokens - first
  own = embed[NAME][jnp.maximum(index, 0)].astype(dtype)
  return jnp.where((index >= 0)[..., None], own, vectors)


def folded(params: Params) -> Params:
  """Returns the same model with its prefix as rows of the embedding.

  For a model whose embedding is trained and is not its head.

  Args:
    params: with or without a prefix.
  """
  embed = params["embed"]
  if NAME not in embed:
    return params
  own = embed[NAME].astype(embed["embedding"].dtype)
  rows = jnp.concatenate([embed["embedding"], own])
  return {**params, "embed": {"embedding": rows}}
