"""The paper's four methods on Qwen2.5-7B, three seeds each.

jaxrl-entropy sweep --config=configs/sweeps/qwen2_5_7b.py --workdir=DIR
"""

from configs import common


def get_config(method: str = "grpo"):
  return common.qwen2_5_7b(method)


def sweep(add):
  for method in common.METHODS:
    for seed in range(3):
      add({"seed": seed}, arg=method)
