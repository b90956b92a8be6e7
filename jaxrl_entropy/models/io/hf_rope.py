"""Rotary settings in Hugging Face's config.json <-> Rope.

`rope_parameters` of transformers 5, `rope_theta` and `rope_scaling` of 4.
"""

from collections.abc import Mapping
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
  "longrope": ("short_factor", "long_factor", "factor", "attention_factor"),
}
_REQUIRED = {
  "factor",
  "low_freq_factor",
  "high_freq_factor",
  "short_factor",
  "long_factor",
}
_ALIASES = {"su": "longrope"}  # in the first files of Phi 3


def take(
  fields: dict[str, Any], defaults: Mapping[str, Any], max_length: int
) -> tuple[Rope, Rope | None]:
  """Takes the rotary settings out of a config.json's fields.

  Args:
    fields: of the config.json; rotary keys are removed.
    defaults: of the model type.
    max_length: `max_position_embeddings`.

  Returns:
    The settings, and those of sliding layers where the model type has two.

  Raises:
    UnsupportedConfigError: names the setting that is missing or not supported.
  """

  def outer(key: str) -> Any:
    value = fields.pop(key, None)
    return defaults.get(key) if value is None else value

  new, old = fields.pop("rope_parameters", 0), fields.pop("rope_scaling", 0)
  section: Mapping[str, Any] = old or new or {}
  shared = {
    "rope_theta": outer("rope_theta"),
    "original_max_position_embeddings": outer(
      "original_max_position_embeddings"
    ),
  }
  if "partial_rotary_factor" in defaults:
    shared["partial_rotary_factor"] = outer("partial_rotary_factor")
  if "rope_local_base_freq" not in defaults:
    return _rope(shared, section, max_length), None
  local = {"rope_theta": outer("rope_local_base_freq") or shared["rope_theta"]}
  inner = section.get("sliding_attention", {})
  whole = (
    section.get("full_attention", {})
    if "full_attention" in section
    else section
  )
  return _rope(shared, whole, max_length), _rope(local, inner, max_length)


def _rope(
  shared: Mapping[str, Any], section: Mapping[str, Any], max_length: int
) -> Rope:
  """Returns the settings of `section`, and of `shared` where it has none."""
  section = {key: value for key, value in section.items() if value is not None}
  old_kind = section.pop("type", "default")
  kind = section.pop("rope_type", old_kind)
  kind = _ALIASES.get(kind, kind)
  if kind not in _ROPE_KEYS:
    raise UnsupportedConfigError(
      f"rope type {kind!r} is not supported; one of {', '.join(_ROPE_KEYS)}"
    )
  theta = section.pop("rope_theta", shared["rope_theta"])
  original = section.pop("original_max_position_embeddings", None)
  original = (
    shared.get("original_max_position_embeddings") or original or max_length
  )
  rotated = section.pop("partial_rotary_factor", 1.0)
  if "partial_rotary_factor" in shared:
    rotated = shared["partial_rotary_factor"] if rotated == 1.0 else rotated
  elif rotated != 1.0:
    raise UnsupportedConfigError("partial_rotary_factor is not supported")
  _check_keys(kind, section)
  if kind == "default":
    return Rope(theta, rotated=rotated)
  if kind in ("yarn", "longrope"):
    section = {"factor": max_length / original} | section
  complete = {"yarn": _yarn, "longrope": _longrope}.get(kind)
  if complete:
    section = complete(section, original)
  length = 0 if kind == "linear" else original
  return Rope(theta, kind, rotated=rotated, original_length=length, **section)


def _check_keys(kind: str, section: Mapping[str, Any]) -> None:
  if "attn_factor" in section:
    raise UnsupportedConfigError(
      f"rope_scaling has attn_factor={section['attn_factor']}, which "
      "transformers ignores and other engines multiply by: remove it, or "
      "replace it by attention_factor, which multiplies queries and keys"
    )
  unknown = set(section) - set(_ROPE_KEYS[kind])
  if unknown:
    raise UnsupportedConfigError(
      f"rope type {kind!r} with {sorted(unknown)} is not supported"
    )
  derived = {"factor"} if kind in ("yarn", "longrope") else set()
  missing = _REQUIRED & set(_ROPE_KEYS[kind]) - set(section) - derived
  if missing:
    raise UnsupportedConfigError(f"rope type {kind!r} lacks {sorted(missing)}")


def _yarn(section: dict[str, Any], original: int) -> dict[str, Any]:
  """Resolves YaRN's attention factor (2309.00071, eq. 22)."""
  del original
  mscale = section.pop("mscale", None)
  mscale_all = section.pop("mscale_all_dim", None)

  def magnitude(scale: float) -> float:
    return 0.1 * scale * math.log(max(section["factor"], 1.0)) + 1.0

  factor = magnitude(1.0)
  if mscale and mscale_all:
    factor = magnitude(mscale) / magnitude(mscale_all)
  return {"attention_factor": factor} | section


def _longrope(section: dict[str, Any], original: int) -> dict[str, Any]:
  """Resolves LongRoPE's attention factor (2402.13753, section 3.3)."""
  growth = math.log(max(section["factor"], 1.0)) / math.log(original)
  resolved = {"attention_factor": math.sqrt(1 + growth)} | section
  for name in ("short", "long"):
    resolved[f"{name}_factors"] = tuple(resolved.pop(f"{name}_factor"))
  return resolved


def context(rope: Rope, max_length: int) -> int:
  """Returns the longest context that a config.json's settings allow, tokens.

  YaRN's may be longer than `max_position_embeddings`. LongRoPE's is that before
  scaling, until `TransformerConfig.with_max_length` asks for more.

  Args:
    rope: as `take` reads it from the config.json.
    max_length: `max_position_embeddings` of the config.json, tokens.
  """
  if rope.kind == "longrope":
    return rope.original_length
  return max(max_length, rope.stretched_length)


def scaling(rope: Rope) -> dict[str, Any] | None:
  """Returns the `rope_scaling` of a config.json."""
  if rope.kind == "default":
    return None
  keys = set(_ROPE_KEYS[rope.kind]) - {"mscale", "mscale_all_dim"}
  names = {"short_factor": "short_factors", "long_factor": "long_factors"}
  settings = {key: getattr(rope, names.get(key, key)) for key in sorted(keys)}
  if rope.original_length:
    settings["original_max_position_embeddings"] = rope.original_length
  return {"rope_type": rope.kind} | settings
