"""What the paper's runs share (arXiv 2505.22617 and its own scripts).

`entropy_run` takes them to other models: KL-Cov with the 32B's share of tokens.

Weights and data are yours to bring:

    --config.model.weights=FOLDER   a Hugging Face folder of the base model
    --config.task.args.path=FILE    DAPO-Math-17k, JSON lines or Parquet
    --config.task.args.test_path=FILE   problems to evaluate on
"""

from configs.evaluation import GREEDY, MANY, SETS
from jaxrl_entropy.config import defaults
from jaxrl_entropy.errors import UserError, nearest

# The ratio is clipped as the scripts do; Clip-Cov's own bounds are 1 and 1.
METHODS = {
  "grpo": {"clip_low": 0.2, "clip_high": 0.2},
  "clip_higher": {"clip_low": 0.2, "clip_high": 0.28},
  "clip_cov": {"fraction": 2e-4, "cov_low": 1.0, "cov_high": 5.0},
  "kl_cov": {"fraction": 2e-3, "coefficient": 1.0},
}


def paper(method: str, **args: float):
  """The hyper-parameters of all runs; `args` change those of the method."""
  config = defaults.get_config()
  config.steps = 256
  config.recipe = method
  config.loss.args.update(METHODS[method] | args)

  config.task.args.update(path="data/dapo-math-17k.jsonl")
  config.reward.workers = 16

  config.rollout.prompts_per_step = 256
  config.rollout.group_filter = "mixed"
  config.rollout.group_size = 8
  config.rollout.max_generation_rounds = 10
  config.rollout.max_prompt_length = 2048
  config.rollout.max_response_length = 8192

  config.rollout.num_minibatches = 8  # mini-batches of 32 prompts
  # A row of its own for each response would be half padding. Loss and gradient
  # are the same, up to rounding; the scripts remove padding too.
  config.rollout.pack = True

  # Competitions of few problems 32 times, all others greedily. A source is a
  # column of the rows, or else the name of their file.
  competitions = (name for name, (_, how) in SETS.items() if how is MANY)
  config.eval.source_temperatures = tuple(
    (name, MANY["temperature"]) for name in competitions
  )
  config.eval.update(every=4, problems=10_000, greedy=False)
  config.eval.update(GREEDY | {"samples": MANY["samples"]})
  return config


def qwen2_5_7b(method: str, **args: float):
  """On 16 devices of 16 GB (v5e-16)."""
  config = paper(method, **args)
  config.name = f"qwen2.5-7b-{method}"
  config.model.preset = "qwen2.5-7b"
  config.optimizer.learning_rate = 5e-7
  # Each row of the mesh holds a whole sampler: its 4 key-value heads over
  # tensor, its slots over fsdp.
  config.mesh.update(fsdp=4, tensor=4)
  config.optimizer.micro_batches = 64
  config.rollout.slots = 512
  config.rollout.kv_tokens = 128 * 10240
  return config


def qwen2_5_32b(method: str, **args: float):
  """On 128 chips of 96 GB (v5p-256)."""
  config = paper(method, **args)
  config.name = f"qwen2.5-32b-{method}"
  config.model.preset = "qwen2.5-32b"
  config.optimizer.learning_rate = 1e-6
  config.mesh.update(fsdp=16, tensor=8)
  config.optimizer.micro_batches = 4
  config.rollout.slots = 1024
  config.rollout.kv_tokens = 512 * 10240
  return config


def entropy_run(preset: str, slice_: str, **mesh: int):
  """KL-Cov as on 32B, for another model.

  Args:
    preset: the model.
    slice_: the slice that `mesh` covers, for the run's name.
    **mesh: sizes of its axes.
  """
  config = paper("kl_cov", fraction=2e-4)
  config.name = f"{preset}-{slice_}"
  config.model.preset = preset
  config.optimizer.learning_rate = 1e-6
  config.mesh.update(mesh)
  return config


def choose(name: str, makers):
  """Returns the config that `makers` has under `name`.

  Raises:
    UserError: there is none.
  """
  if name not in makers:
    raise UserError(f"config {name!r}: {nearest(name, makers)}")
  return makers[name]()
