"""The cases run op by op, in many shapes: keep even the smallest programs."""

import jax

jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
