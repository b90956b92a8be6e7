r"""KL-Cov on Llama-3.1-70B.

    jaxrl-entropy plan --config=configs/llama3.py:70b --topology=v5p-128

Where weights and data come from: see common.py.
"""

from configs import common


def llama3_70b():
  """On 64 chips of 96 GB (v5p-128)."""
  config = common.entropy_run("llama3.1-70b", "v5p-128", fsdp=8, tensor=8)
  config.rollout.slots = 512
  config.rollout.kv_tokens = 256 * 10240
  config.optimizer.micro_batches = 16
  return config


CONFIGS = {"70b": llama3_70b}


def get_config(name: str = "70b"):
  return common.choose(name, CONFIGS)
