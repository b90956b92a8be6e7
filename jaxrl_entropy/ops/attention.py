"""Causal grouped-query attention over packed rows."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def attend(
  q: Float[Array, "B T H d"],
  k: Float[Array, "B T K d"],
  v: Float[Array, "B T K d"],
  segments: Int[Array, "B T"],
  window: int | Int[Array, ""] = 0,
) -> Float[Array, "B T H d"]:
  """Each token attends to the tokens before it in its own segment, and itself.

  Args:
    q: queries; H is a multiple of K.
    k: keys.
    v: values.
    segments: a token sees only tokens of its own segment id.
    window: tokens it sees, itself included; 0: all. May be traced.
  """
  rows, length, heads, dim = q.shape
  groups = heads // k.shape[2]
  q = q.reshape(rows, length, -1, groups, dim)
  scores = jnp.einsum(
    "btkgd,bskd->bkgts", q, k, preferred_element_type=jnp.float32
  )
  mask = visible(segments, window)[:, None, None]
  scores = jnp.where(mask, scores * dim**-0.5, jnp.finfo(jnp.float32).min)
  weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
  mixed = jnp.einsum("bkgts,bskd->btkgd", weights, v)
  return mixed.reshape(rows, length, heads, dim)


def visible(
  segments: Int[Array, "B T"], window: int | Int[Array, ""]
) -> jax.Array:
  """Bool [B, T, S]: may the query at t see the key at s?"""
  place = jnp.arange(segments.shape[1])
  back = place[:, None] - place[None, :]
  reach = jnp.where(jnp.asarray(window) > 0, window, segments.shape[1])
  near = (back >= 0) & (back < reach)
  return near[None] & (segments[:, :, None] == segments[:, None, :])
