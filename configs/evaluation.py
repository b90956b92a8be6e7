r"""Published evaluation sets, asked as papers ask them.

    jaxrl-entropy evaluate --config=configs/evaluation.py:aime24 \
        --config.task.args.test_path=aime24.jsonl \
        --config.model.weights=FOLDER \
        --output=runs/aime24

The argument is one of SETS, and after a colon one of PROTOCOLS
(`aime24:qwen3`). The file is yours to bring, as it is published (docs/data.md).
With --workdir in place of the weights, the policy of a run answers:

    jaxrl-entropy evaluate --config=configs/evaluation.py:math500 \
        --config.task.args.test_path=math500.jsonl \
        --workdir=runs/kl_cov --best \
        --output=runs/kl_cov_math500
"""

from jaxrl_entropy.config import defaults
from jaxrl_entropy.errors import UserError, nearest

MANY = {"samples": 32, "temperature": 0.6}
GREEDY = {"samples": 1, "temperature": 0.0}

# The format of each set's rows, and how the entropy paper asks them (arXiv
# 2505.22617): competitions of few problems many times, the others greedily.
# LiveCodeBench's own runner takes 10 samples at temperature 0.2 and top-p 0.95.
SETS = {
  "aime24": ("auto", MANY),
  "aime25": ("auto", MANY),
  "amc23": ("auto", MANY),
  "math500": ("math", GREEDY),
  "minerva": ("auto", GREEDY),
  "olympiad_bench": ("olympiad_bench", GREEDY),
  "omni_math": ("math", GREEDY),
  "gsm8k": ("gsm8k", GREEDY),
  "human_eval": ("humaneval", GREEDY),
  "live_code_bench": (
    "livecodebench",
    {"samples": 10, "temperature": 0.2, "top_p": 0.95},
  ),
}
PROGRAMS = ("human_eval", "live_code_bench")

# What replaces a set's own settings: those of the reports of DeepSeek-R1 (arXiv
# 2501.12948) and of Qwen3 with thinking (arXiv 2505.09388).
_R1 = {
  "samples": 64,
  "temperature": 0.6,
  "top_p": 0.95,
  "max_response_length": 32768,
}
PROTOCOLS = {"": {}, "r1": _R1, "qwen3": _R1 | {"top_k": 20}}


def get_config(name: str = "aime24"):
  name, _, protocol = name.partition(":")
  if name not in SETS:
    raise UserError(f"no evaluation set {name!r}: {nearest(name, SETS)}")
  if protocol not in PROTOCOLS:
    raise UserError(f"no protocol {protocol!r}: {nearest(protocol, PROTOCOLS)}")
  layout, settings = SETS[name]
  config = defaults.get_config()
  config.name = f"eval-{name}"
  config.task.name = "files"
  config.task.args.path = ""
  config.task.args.test_path = f"{name}.jsonl"
  config.task.args.format = layout
  config.task.args.verifier = "math_equal"
  config.model.preset = "qwen2.5-7b"
  config.model.tokenizer = "auto"
  config.model.param_dtype = "bfloat16"
  config.model.compute_dtype = "bfloat16"
  config.rollout.max_prompt_length = 2048
  config.rollout.slots = 64
  config.reward.workers = 4
  if name in PROGRAMS:
    config.reward.timeout = 60.0  # for all tests of a problem
  config.eval.problems = 10_000
  config.eval.max_response_length = 8192
  config.eval.greedy = False
  config.eval.update(settings | PROTOCOLS[protocol])
  return config
