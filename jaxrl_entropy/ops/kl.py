"""Per-token estimators of a KL divergence from two log-probs of one token.

With y drawn from pi and d = log pi(y) - log ref(y), the estimators of
KL(pi || ref) named by Schulman ("Approximating KL divergence", 2020) are
k1 = d, k2 = d^2 / 2 and k3 = exp(-d) - 1 + d. Only k1 and k3 are unbiased in
value; the gradient of k2 is the unbiased one. A `+` after a name takes the
value of that estimator and the gradient of k2 (verl's straight-through kinds).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_MAX_EXPONENT = 20.0
_MAX_K3 = 10.0


def _absolute(d: jax.Array) -> jax.Array:
  # jnp.abs has gradient 1 at 0; every first update after a rollout is there.
  return d * jax.lax.stop_gradient(jnp.sign(d))


def _k2(d: jax.Array) -> jax.Array:
  return 0.5 * d * d


def _k3(d: jax.Array) -> jax.Array:
  x = jnp.clip(-d, -_MAX_EXPONENT, _MAX_EXPONENT)
  return jnp.clip(jnp.expm1(x) - x, -_MAX_K3, _MAX_K3)


def _k3_unclamped(d: jax.Array) -> jax.Array:
  return jnp.expm1(-d) + d


_KINDS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "k1": lambda d: d,
  "k2": _k2,
  "k3": _k3,
  "k3_unclamped": _k3_unclamped,
  "abs": _absolute,
  # Names of the peers.
  "kl": lambda d: d,
  "mse": _k2,
  "low_var_kl": _k3,
}


def check_kind(kind: str) -> None:
  """Raises unless `kind` names an estimator of `kl`.

  Raises:
    ValueError: for an unknown kind.
  """
  if not isinstance(kind, str) or kind.removesuffix("+") not in _KINDS:
    names = ", ".join(_KINDS)
    raise ValueError(
      f"unknown KL kind {kind!r}; choose one of {names}, or one of these "
      "followed by '+' for the gradient of k2"
    )


def kl(
  logp: Float[Array, "*shape"],
  ref_logp: Float[Array, "*shape"],
  kind: str = "k1",
) -> Float[Array, "*shape"]:
  """Returns the KL estimate of each token, nats, float32.

  Args:
    logp: log-prob under the policy. Carries the gradient.
    ref_logp: log-prob under the reference; a constant.
    kind: `k1` (`kl`), `k2` (`mse`), `k3` (`low_var_kl`; exponent held in
      [-20, 20], value in [-10, 10], gradient 0 where held), `k3_unclamped`
      (TRL's), `abs` (|d|, whose gradient at 0 is 0), each also with `+`.

  Raises:
    ValueError: for an unknown kind.
  """
  check_kind(kind)
  estimator = _KINDS[kind.removesuffix("+")]
  ref_logp = jax.lax.stop_gradient(ref_logp.astype(jnp.float32))
  d = logp.astype(jnp.float32) - ref_logp
  value = estimator(d)
  if not kind.endswith("+"):
    return value
  straight = _k2(d)
  return straight + jax.lax.stop_gradient(value - straight)
