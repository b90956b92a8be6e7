"""Causal grouped-query attention over packed rows: chooses the back-end.

* "xla" runs anywhere, one block of queries at a time;
* "cudnn" runs on NVIDIA GPUs in half precision;
* "splash" runs on TPUs and knows no shared prefixes;
* "auto" takes the platform's kernel where it can compute the call, else "xla".
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxrl_entropy import sharding
from jaxrl_entropy.ops.attention import splash, xla

BACKENDS = ("auto", "xla", "cudnn", "splash")


def attend(
  q: Float[Array, "B T H d"],
  k: Float[Array, "B T K d"],
  v: Float[Array, "B T K d"],
  segments: Int[Array, "B T"],
  window: int = 0,
  backend: str = "auto",
  softcap: float = 0.0,
) -> Float[Array, "B T H d"]:
  """Computes causal attention within each segment and its shared prefix.

  Scores are scaled by 1 / sqrt(d); their softmax is in float32.

  Args:
    q: queries; H is a multiple of K.
    k: keys.
    v: values.
    segments: segment of each token; a token sees its own segment and the shared
      prefix of it (see `xla.visible`). "splash" ignores shared prefixes.
    window: number of tokens a query sees, itself included; 0 means all.
    backend: one of `BACKENDS`.
    softcap: c, if not 0: scores become `c tanh(scores / c)`; "cudnn" has none.

  Returns:
    The weighted values, in the dtype of `v`.

  Raises:
    ValueError: if the back-end is unknown or cannot compute the shape.
  """
  if backend not in BACKENDS:
    raise ValueError(
      f"attention {backend!r} is unknown; one of {', '.join(BACKENDS)}"
    )
  q = sharding.constrain(q, sharding.ROWS, "context", "tensor", None)
  chosen = platform_backend(q, softcap) if backend == "auto" else backend
  if chosen == "splash":
    return splash.attend(q, k, v, segments, window, softcap=softcap)
  # With the row split over context, a query may need any key of its row.
  k, v = (
    sharding.constrain(x, sharding.ROWS, None, "tensor", None) for x in (k, v)
  )
  if chosen == "cudnn":
    if softcap:
      raise ValueError("attention 'cudnn' has no softcap: use 'xla'")
    if sharding.platform() != "gpu":
      raise ValueError(
        "model.attention is 'cudnn', which needs an NVIDIA GPU: use 'auto'"
      )
    return _cudnn(q, k, v, segments, window)
  return xla.attend(q, k, v, segments, window, softcap)


def platform_backend(
  q: jax.Array | jax.ShapeDtypeStruct, softcap: float
) -> str:
  """Returns the back-end that "auto" means for queries [B, T, H, d].

  Args:
    q: queries, or their shape and dtype alone.
    softcap: cap of the scores; not 0 rules out "cudnn".
  """
  platform = sharding.platform()
  if platform == "gpu" and softcap:
    return "xla"
  if platform == "gpu" and q.dtype in (jnp.bfloat16, jnp.float16):
    return "cudnn" if q.shape[-1] % 8 == 0 and q.shape[-1] <= 128 else "xla"
  return "splash" if platform == "tpu" and splash.supports(q) else "xla"


def _cudnn(q, k, v, segments, window):
  return jax.nn.dot_product_attention(
    q,
    k,
    v,
    mask=xla.visible(segments, segments, window)[:, None],
    is_causal=True,
    implementation="cudnn",
  )
