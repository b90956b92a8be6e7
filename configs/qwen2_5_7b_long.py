r"""KL-Cov on Qwen2.5-7B with responses of 32,768 tokens, on a context axis.

    jaxrl-entropy plan --config=configs/qwen2_5_7b_long.py --topology=v5e-64

Where weights and data come from: see common.py.
"""

from configs import common


def get_config():
  """On 64 devices of 16 GB (v5e-64)."""
  config = common.entropy_run("qwen2.5-7b", "long", fsdp=4, tensor=4, context=4)
  config.optimizer.learning_rate = 5e-7
  config.rollout.max_response_length = 32768
  config.rollout.slots = 128
  config.rollout.kv_tokens = 32 * (2048 + 32768)
  config.optimizer.micro_batches = 64
  return config
