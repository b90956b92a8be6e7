r"""Competition mathematics, as the paper evaluates it.

    jaxrl-entropy evaluate --config=configs/eval_maths.py:aime24 \
        --config.task.args.test_path=aime24.jsonl \
        --config.model.preset=qwen2.5-7b --config.model.weights=FOLDER \
        --output=runs/aime24

The argument is one of the sets below; the file is yours to bring, as JSON
lines or Parquet (docs/data.md has the columns). AIME and AMC are sampled 32
times at temperature 0.6, the others answered greedily.
"""

from jaxrl_entropy.config import defaults

# Each set's samples a problem, and their temperature.
SETS = {
  "aime24": (32, 0.6),
  "aime25": (32, 0.6),
  "amc": (32, 0.6),
  "math500": (1, 0.0),
  "omni_math": (1, 0.0),
  "olympiad_bench": (1, 0.0),
  "minerva": (1, 0.0),
}


def get_config(name: str = "aime24"):
  if name not in SETS:
    raise ValueError(f"no set {name!r}: choose one of {', '.join(SETS)}")
  config = defaults.get_config()
  config.name = f"eval-{name}"
  config.task.name = "files"
  config.task.args.path = ""
  config.task.args.test_path = f"{name}.jsonl"
  config.model.preset = "qwen2.5-7b"
  config.model.tokenizer = "auto"
  config.model.param_dtype = "bfloat16"
  config.model.compute_dtype = "bfloat16"
  config.rollout.max_prompt_length = 2048
  config.rollout.max_response_length = 8192
  config.rollout.slots = 64
  config.reward.workers = 4
  config.eval.problems = 10_000
  config.eval.samples, config.eval.temperature = SETS[name]
  return config
