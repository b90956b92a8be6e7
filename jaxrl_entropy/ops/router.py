"""Losses and agreement of a mixture of experts' router, token by token."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def balance_loss(
  scores: Float[Array, "*B E"], counted: Bool[Array, "*B"], per_token: int
) -> Float[Array, "*B"]:
  """Computes each token's part of the load-balance loss.

  `E sum_e f_e p_e` with p the token's probabilities and f_e the share of all
  choices that fell on expert e, constant. The mean over tokens is 1 where the
  load is even, at most E.

  Args:
    scores: the router's logits.
    counted: tokens whose choices count in f.
    per_token: experts that each token is given to.

  References:
    Switch Transformers, arXiv 2101.03961, equation 4.
  """
  scores = scores.astype(jnp.float32)
  experts = scores.shape[-1]
  probabilities = jax.nn.softmax(scores, axis=-1)
  _, chosen = jax.lax.top_k(scores, per_token)
  hits = jax.nn.one_hot(chosen, experts).sum(axis=-2)
  hits = jnp.where(counted[..., None], hits, 0.0).reshape(-1, experts)
  load = hits.sum(axis=0) / jnp.maximum(hits.sum(), 1.0)
  load = jnp.broadcast_to(jax.lax.stop_gradient(load), scores.shape)
  return experts * jnp.sum(load * probabilities, axis=-1)


def agreement(
  scores: Float[Array, "*B E"], routes: Int[Array, "*B k"]
) -> Float[Array, "*B"]:
  """Computes the share of `routes` that the router would choose as well.

  Args:
    scores: the router's logits.
    routes: experts that were chosen elsewhere; -1 agrees with nothing.
  """
  _, chosen = jax.lax.top_k(scores, routes.shape[-1])
  same = routes[..., :, None].astype(chosen.dtype) == chosen[..., None, :]
  return same.any(axis=-1).astype(jnp.float32).mean(axis=-1)


def z_loss(scores: Float[Array, "*B E"]) -> Float[Array, "*B"]:
  """Computes `logsumexp(scores)^2` of each token.

  References:
    ST-MoE, arXiv 2202.08906, equation 5.
  """
  normalizer = jax.nn.logsumexp(scores.astype(jnp.float32), axis=-1)
  return jnp.square(normalizer)
