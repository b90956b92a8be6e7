"""Rotary settings in Hugging Face's config.json <-> Rope.

`rope_parameters` of transformers 5, `rope_theta` and `rope_scaling` of 4.
"""

import math
from typing import Any

from jaxrl_entropy.models.config import UnsupportedConfigError
from jaxrl_entropy.models.rope import Rope

_ROPE_KEYS = {
  "default": (),
  "linear": ("factor",),
  "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
  "yarn": (
    "factor",
    "beta_fast",
    "beta_slow",
    "truncate",
    "attention_factor",
    "mscale",
    "mscale_all_dim",
  ),
}


def take(fields: dict[str, Any], max_length: int) -> Rope:
  """Takes the rotary settings out of a config.json's fields.

  Raises:
    UnsupportedConfigError: names the setting that is missing or not supported.
  """
  outer, theta = fields.pop("rope_theta", None), 10000.0
  new, old = fields.pop("rope_parameters", 0), fields.pop("rope_scaling", 0)
  rope = dict(old or new or {})
  old_kind = rope.pop("type", None)
  kind = rope.pop("rope_type", None) or old_kind or "default"
  theta = rope.pop("rope_theta", None) or outer or theta
  if kind not in _ROPE_KEYS:
    raise UnsupportedConfigError(
      f"rope type {kind!r} is not supported; one of {', '.join(_ROPE_KEYS)}"
    )
  inner = rope.pop("original_max_position_embeddings", None)
  original = fields.pop("original_max_position_embeddings", None) or inner
  original = original or max_length
  if rope.pop("partial_rotary_factor", None) not in (None, 1.0):
    raise UnsupportedConfigError("partial_rotary_factor is not supported")
  given = {k: v for k, v in rope.items() if v is not None}
  if "attn_factor" in given:
    raise UnsupportedConfigError(
      f"rope_scaling has attn_factor={given['attn_factor']}, which "
      "transformers ignores and other engines multiply by: remove it, or "
      "replace it by attention_factor, which multiplies queries and keys"
    )
  unknown = set(given) - set(_ROPE_KEYS[kind])
  if unknown:
    raise UnsupportedConfigError(
      f"rope type {kind!r} with {sorted(unknown)} is not supported"
    )
  if kind == "default":
    return Rope(theta)
  if kind == "yarn":
    given = _yarn(given, max_length / original)
  missing = {"factor", "low_freq_factor", "high_freq_factor"} & (
    set(_ROPE_KEYS[kind]) - set(given)
  )
  if missing:
    raise UnsupportedConfigError(f"rope type {kind!r} lacks {sorted(missing)}")
  length = 0 if kind == "linear" else original
  return Rope(theta, kind, original_length=length, **given)


def _yarn(given: dict[str, Any], stretch: float) -> dict[str, Any]:
  """YaRN's settings with the attention factor resolved (2309.00071, eq. 22)."""
  given = {"factor": stretch} | given
  mscale = given.pop("mscale", None)
  mscale_all = given.pop("mscale_all_dim", None)

  def magnitude(scale: float) -> float:
    return 0.1 * scale * math.log(max(given["factor"], 1.0)) + 1.0

  factor = magnitude(1.0)
  if mscale and mscale_all:
    factor = magnitude(mscale) / magnitude(mscale_all)
  return {"attention_factor": factor} | given


def scaling(rope: Rope) -> dict[str, Any] | None:
  """The `rope_scaling` of a config.json."""
  if rope.kind == "default":
    return None
  keys = set(_ROPE_KEYS[rope.kind]) - {"mscale", "mscale_all_dim"}
  settings = {key: getattr(rope, key) for key in sorted(keys)}
  if rope.original_length:
    settings["original_max_position_embeddings"] = rope.original_length
  return {"rope_type": rope.kind} | settings
