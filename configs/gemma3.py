r"""KL-Cov on Gemma-3-27B, its text part.

    jaxrl-entropy plan --config=configs/gemma3.py:27b --topology=v5p-64

Where weights and data come from: see common.py.
"""

from configs import common


def gemma3_27b():
  """On 32 chips of 96 GB (v5p-64)."""
  config = common.entropy_run("gemma3-27b", "v5p-64", fsdp=8, tensor=4)
  # This leaves room for a second copy of the cache, see qwen3.py.
  config.rollout.slots = 256
  config.rollout.kv_tokens = 128 * 10240
  config.optimizer.micro_batches = 16
  return config


CONFIGS = {"27b": gemma3_27b}


def get_config(name: str = "27b"):
  return common.choose(name, CONFIGS)
