r"""GSM8K with Qwen2.5-0.5B-Instruct on one GPU of 24 to 80 GB.

    pip install -e ".[cuda,math,parquet,sandbox]"
    jaxrl-entropy train --config=configs/gsm8k_qwen2_5_0_5b.py \
        --workdir=runs/gsm8k/grpo
    jaxrl-entropy train --config=configs/gsm8k_qwen2_5_0_5b.py:kl_cov \
        --workdir=runs/gsm8k/kl_cov
    jaxrl-entropy sweep --config=configs/gsm8k_qwen2_5_0_5b.py \
        --workdir=runs/gsm8k
    jaxrl-entropy analyze --workdir=runs/gsm8k

Model and data come from the hub (7,473 training and 1,319 test problems);
folders and files of yours go into model.weights, task.args.path and
task.args.test_path.

Memory, in GB (0.494 billion parameters, 12,288 bytes of cache per token):

    parameters, gradients and AdamW's moments in float32    7.9
    the sampler's copy in bfloat16                          1.0
    key-value cache of 393,216 tokens                       4.8
    saved activations of 16 rows of 1,536 tokens            1.1
    a chunk of 1,024 tokens of logits and its gradient      1.9
    in all, before what the compiler adds                  16.7

With 80 GB, raise rollout.kv_tokens and lower optimizer.micro_batches.

What to expect: verl's public baselines give this model 36.4 before training,
54.3 by GRPO with LoRA, 56.7 by PPO and 58.7 by PRIME (greedy accuracy on the
test set, in percent; docs/algo/baseline.md of verl). They are targets, not
results of this code, which has not been run on this task.
"""

from jaxrl_entropy.config import recipes
from jaxrl_entropy.errors import UserError, nearest

METHODS = {
  "grpo": {},
  "clip_cov": {"fraction": 2e-3},
  "kl_cov": {"fraction": 2e-3},
}
DATA = "hub:openai/gsm8k:main/"


def get_config(method: str = "grpo"):
  if method not in METHODS:
    raise UserError(f"method {method!r}: {nearest(method, METHODS)}")
  config = recipes.get_config(method)
  config.name = f"gsm8k-{method}"
  config.loss.args.update(METHODS[method])
  config.steps = 232  # two epochs
  config.model.weights = "Qwen/Qwen2.5-0.5B-Instruct"
  config.task.args.update(
    path=DATA + "train-*.parquet",
    test_path=DATA + "test-*.parquet",
  )
  config.rollout.prompts_per_step = 64
  config.rollout.group_size = 8
  config.rollout.group_filter = "all"
  config.rollout.num_minibatches = 2
  config.rollout.max_prompt_length = 512
  config.rollout.max_response_length = 1024
  config.rollout.slots = 256
  config.rollout.kv_tokens = 256 * 1536
  config.rollout.pack = True
  config.optimizer.learning_rate = 1e-6
  config.optimizer.micro_batches = 16
  config.eval.every = 20
  config.eval.problems = 1319
  config.eval.samples = 1
  config.eval.temperature = 0.6
  return config


def sweep(add):
  for method in METHODS:
    add(arg=method)
