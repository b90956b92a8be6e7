"""Attention for training (packed rows) and for decoding (paged caches).

`attend` computes causal grouped-query attention over packed rows and picks a
back-end. The caches of the sampler are in `paged` (XLA, any platform) and
`ragged` (JAX's TPU kernel).
"""

from jaxrl_entropy.ops.attention.dispatch import BACKENDS, attend
from jaxrl_entropy.ops.attention.xla import SEGMENTS_PER_PREFIX, visible

__all__ = ("BACKENDS", "SEGMENTS_PER_PREFIX", "attend", "visible")
