r"""KL-Cov on Qwen2.5-32B with the paper's hyper-parameters.

    jaxrl-entropy plan --config=configs/qwen2_5_32b_kl_cov.py \
        --topology=v5p-256

Where weights and data come from: see common.py.
"""

from configs import common


def get_config():
  return common.qwen2_5_32b("kl_cov", fraction=2e-4)
