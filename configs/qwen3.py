r"""KL-Cov on Qwen3-30B-A3B, a mixture of 128 experts.

    jaxrl-entropy plan --config=configs/qwen3.py:30b_a3b --topology=v5e-64
    jaxrl-entropy plan --config=configs/qwen3.py:30b_a3b_v5p --topology=v5p-32

Where weights and data come from: see common.py.
"""

from configs import common


def qwen3_30b_a3b():
  """On 64 devices of 16 GB (v5e-64)."""
  # Without the expert axis the sampler's copy has room in int8 alone. Tensor is
  # not wider, as more than 4 parts would copy the 4 key-value heads.
  config = common.entropy_run(
    "qwen3-30b-a3b", "v5e-64", fsdp=4, tensor=4, expert=4
  )
  config.rollout.slots = 512
  config.rollout.kv_tokens = 128 * 10240
  config.optimizer.micro_batches = 16
  return config


def qwen3_30b_a3b_v5p():
  """On 16 chips of 96 GB (v5p-32)."""
  config = common.entropy_run("qwen3-30b-a3b", "v5p-32", fsdp=4, expert=4)
  # Half of what the memory holds: several key-value heads on a device make the
  # compiler keep a second copy of the cache.
  config.rollout.slots = 512
  config.rollout.kv_tokens = 256 * 10240
  config.optimizer.micro_batches = 4
  return config


CONFIGS = {"30b_a3b": qwen3_30b_a3b, "30b_a3b_v5p": qwen3_30b_a3b_v5p}


def get_config(name: str = "30b_a3b"):
  return common.choose(name, CONFIGS)
