r"""Clip-Cov on Qwen2.5-7B with the paper's hyper-parameters.

    jaxrl-entropy plan --config=configs/qwen2_5_7b_clip_cov.py \
        --topology=v5e-16

Where weights and data come from: see common.py.
"""

from configs import common


def get_config():
  return common.qwen2_5_7b("clip_cov")
