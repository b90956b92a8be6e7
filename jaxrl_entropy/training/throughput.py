"""Rates of a step: tokens per second and device, and the update's MFU.

References:
  Chowdhery et al., PaLM (2022), appendix B: model FLOPs utilization.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.models import lora
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.types import Params

# Peak dense bfloat16 FLOP/s of a device, by the start of JAX's name for it.
_PEAKS = {
  "TPU v4": 275e12,
  "TPU v5 lite": 197e12,
  "TPU v5e": 197e12,
  "TPU v5": 459e12,
  "TPU v6": 918e12,
  "NVIDIA A100": 312e12,
  "NVIDIA H100": 989e12,
  "NVIDIA H200": 989e12,
}


def peak_flops(device_kind: str) -> float | None:
  """Returns the peak FLOP/s of a device; None where it is not known.

  Args:
    device_kind: JAX's name of the device, such as "TPU v5p".

  Returns:
    Dense bfloat16 FLOP/s of the device; None where it is not known.
  """
  matches = [name for name in _PEAKS if device_kind.startswith(name)]
  return _PEAKS[max(matches, key=len)] if matches else None


def training_flops(
  model: TransformerConfig, params: Params, lengths: Sequence[int]
) -> float:
  """Returns the FLOPs of one forward and backward pass over some sequences.

  Those that the model needs: recomputation by remat is not counted. With
  adapters the gradients of the frozen weights are not needed.

  Args:
    model: its sizes.
    params: or their shapes, with adapters if there are any.
    lengths: tokens of each sequence.
  """
  frozen = lora.split(params)[1]
  passes = 2 if jax.tree.leaves(frozen) else 3
  tokens = float(sum(lengths))
  # Scores and weighted values of causal attention: half of all pairs.
  pairs = sum(float(length) ** 2 for length in lengths) / 2
  attention = 4.0 * model.num_layers * model.num_heads * model.head_dim * pairs
  return passes * (2.0 * _used(model, params) * tokens + attention)


def _used(model: TransformerConfig, params: Params) -> float:
  """Parameters that multiply a token: those of its experts, no look-up."""
  total = 0.0
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    share = 1.0
    if "experts" in name:
      share = model.num_experts_per_tok / model.num_experts
    if name.startswith("embed/") and not model.tie_embeddings:
      share = 0.0
    total += share * leaf.size
  return total


def rates(
  seconds: Mapping[str, float],
  sampled: int,
  lengths: Sequence[int],
  flops: float,
  devices: Mapping[str, int],
) -> dict[str, float]:
  """Returns the metrics `throughput/*` of one step.

  Args:
    seconds: by phase.
    sampled: tokens of all responses.
    lengths: tokens of each sequence of the updates, with its prompt.
    flops: `training_flops` of these.
    devices: that work in the phases `sample` and `update`.
  """
  total = sum(seconds.values())
  metrics = {f"{run_files.THROUGHPUT}{k}_s": v for k, v in seconds.items()}
  metrics["throughput/tokens_per_s"] = sampled / total
  per_device = {"sample": sampled, "update": int(np.sum(lengths))}
  for phase, tokens in per_device.items():
    if seconds.get(phase):
      name = f"{run_files.THROUGHPUT}{phase}_tokens_per_s_per_device"
      metrics[name] = tokens / seconds[phase] / devices[phase]
  peak = peak_flops(jax.devices()[0].device_kind)
  if peak and seconds.get("update"):
    metrics["throughput/update_mfu"] = (
      flops / seconds["update"] / devices["update"] / peak
    )
  return metrics
