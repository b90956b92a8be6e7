"""Every setting of a run: default, allowed values and meaning.

A config file starts from `get_config()` and changes fields; a field that is not
declared here does not exist. Choices of a function (`loss`, `advantage`,
`task`) are a name and `args`, its keyword arguments; the name may be an import
path (`my_lab.losses:mine`). Defaults suit a language model of 0.5B to 7B
parameters; configs/quickstart.py has those of a toy.
"""

from ml_collections import ConfigDict

from jaxrl_entropy import run_files
from jaxrl_entropy.config.fields import Field, Open, Section, make
from jaxrl_entropy.config.recipes import RECIPES

_FLOATS = ("float32", "bfloat16")
_EVERY = "; 0: only at the end"

MODEL: Section = {
  "preset": Field(
    "qwen2.5-0.5b",
    "Architecture of a model with random weights; not read where `weights` "
    "names a model. The list is in models/config.py.",
  ),
  "weights": Field(
    "",
    "Pretrained weights: a Hugging Face folder, a GGUF file, a name on the hub "
    "('Qwen/Qwen2.5-0.5B', '@REVISION' pins it) or the URL of a folder. "
    "Empty: random weights of the preset.",
  ),
  "tokenizer": Field(
    "auto",
    "'auto': the tokenizer beside the weights; 'symbols': the task's own "
    "symbols; otherwise the path of a tokenizer.",
  ),
  "max_length": Field(
    0,
    "Tokens of the longest context; 0: that of the weights. More than the "
    "weights were trained for gives a warning.",
    low=0,
  ),
  "param_dtype": Field(
    "float32", "Dtype of the trained parameters.", choices=_FLOATS
  ),
  "compute_dtype": Field(
    "bfloat16", "Dtype of the forward and backward pass.", choices=_FLOATS
  ),
  "remat": Field(
    "full",
    "Activations that the backward pass recomputes.",
    choices=("none", "dots", "full"),
  ),
  "attention": Field(
    "auto",
    "Attention back end; 'auto': the kernel of the platform, if a trial at the "
    "start finds it right and faster than 'xla'.",
    choices=("auto", "xla", "cudnn", "splash"),
  ),
  "router_balance": Field(
    0.0, "Coefficient of a mixture of experts' load-balance loss.", low=0.0
  ),
  "router_z": Field(
    0.0, "Coefficient of a mixture of experts' router z loss.", low=0.0
  ),
  "routing_replay": Field(
    False,
    "Take in training the experts that the sampler chose for each token (a "
    "mixture of experts only); logs `router/agreement`.",
  ),
  "lora_rank": Field(0, "Rank of LoRA adapters; 0: full training.", low=0),
  "lora_targets": Field(
    ("q_proj", "k_proj", "v_proj", "o_proj"), "Projections with adapters."
  ),
  "prefix_length": Field(
    0,
    "Vectors of a soft prefix, in front of every prompt and counted in "
    "rollout.max_prompt_length. With it, it and adapters alone are trained; "
    "0: none.",
    low=0,
  ),
}

PROMPT: Section = {
  "template": Field(
    "auto",
    "'auto': the tokenizer's chat template, or plain text where it has none; "
    "'chat': its template; 'none': plain text.",
    choices=("auto", "chat", "none"),
  ),
  "system": Field("", "System message of problems that bring none."),
  "suffix": Field("", "Text after each question."),
  "date": Field(
    "26 Jul 2024",
    "What templates write as today's date, fixed so that a run repeats; '': "
    "today's.",
  ),
  "variables": Open(
    "Variables of the chat template, such as enable_thinking=False."
  ),
}

REWARD: Section = {
  "workers": Field(4, "Processes that verify responses, per host.", low=1),
  "timeout": Field(5.0, "Seconds to verify one response.", above=0),
  "sandbox": Field(
    "auto",
    "Isolation of programs that a model wrote; 'auto': the strongest here.",
    choices=("auto", "bubblewrap", "namespaces", "rlimits"),
  ),
  "packages": Field(
    (), "Installed packages that programs may import, such as ('numpy',)."
  ),
  "folders": Field(
    (),
    "Folders that own verifiers may read, besides that of their package.",
  ),
  "weight": Field(
    1.0, "Weight of the reward of the problem's own verifier.", low=0
  ),
  "functions": Open(
    "Further rewards by names of your choice, as brevity=dict("
    "verifier='my_lab.rewards:brevity', weight=.2, args=dict(words=100))."
  ),
  "rollout": {
    "name": Field(
      "",
      "Reward that depends on all responses of a rollout and their entropies: "
      "'entropy_shape' (HEAL), or an import path; '': none.",
    ),
    "args": Open("Arguments of that reward."),
  },
  "judge": Open(
    "The verifier 'judge', a model behind an endpoint: arguments of "
    "verifiers.judge.Judge, at least its address and model."
  ),
  "kl_coefficient": Field(
    0.0, "Weight of the KL to the reference policy in the reward.", low=0
  ),
  "kl_kind": Field(
    "k1",
    "Estimator of that KL.",
    choices=("k1", "abs", "k2", "k3", "low_var_kl"),
  ),
  "format": Field(
    "",
    "Form that earns `format_bonus`; '': none.",
    choices=("", "boxed", "code", "tagged", "think"),
  ),
  "format_bonus": Field(
    0.1, "Reward for the form of a response, right or wrong."
  ),
  "overlong_buffer": Field(
    0,
    "Last tokens before the length limit that cost up to `overlong_penalty` "
    "(DAPO); 0: off.",
    low=0,
  ),
  "overlong_penalty": Field(
    1.0, "Penalty of a response at the length limit.", low=0
  ),
}

SFT: Section = {
  "steps": Field(
    0, "Updates of supervised fine-tuning before RL; 0: none.", low=0
  ),
  "folder": Field(
    "sft",
    "Folder of its checkpoint, relative to the workdir; the runs of a study "
    "may share one.",
  ),
  "batch_size": Field(64, "Demonstrations per update.", low=1),
  "learning_rate": Field(1e-5, "Peak learning rate.", low=0),
  "wrong_share": Field(
    0.0, "Share of demonstrations with a wrong answer.", low=0, high=1
  ),
  "micro_batches": Field(
    1, "Slices of a batch whose gradients are accumulated.", low=1
  ),
  "task": {
    "name": Field(
      "",
      "Where the responses come from; '': demonstrations of config.task; "
      "'traces' reads them from files (data/tasks/traces.py).",
    ),
    "args": Open("Arguments of that task."),
  },
  "epochs": Field(0.0, "Passes over the traces, where `steps` is 0.", low=0),
  "max_length": Field(
    0, "Tokens of question and response; 0: those of a rollout.", low=0
  ),
  "eval_every": Field(
    100, "Steps between held-out losses; 0: only at the end.", low=0
  ),
  "samples": Field(
    0,
    "Rejection sampling: responses sampled per question, of which the right "
    "ones are imitated; 0: off.",
    low=0,
  ),
  "questions": Field(
    1024, "Training questions asked in rejection sampling.", low=1
  ),
}

ROLLOUT: Section = {
  "prompts_per_step": Field(128, "Prompts sampled per step.", low=1),
  "group_size": Field(8, "Responses per prompt.", low=1),
  "group_filter": Field(
    "",
    "Groups to train on. 'all'; 'mixed': those whose responses are neither all "
    "right nor all wrong (DAPO's dynamic sampling); '': the recipe's.",
    choices=("", "all", "mixed"),
  ),
  "train_groups": Field(
    0,
    "Groups to train on per step, at most; 0: prompts_per_step. Fewer need "
    "group_filter='mixed'.",
    low=0,
  ),
  "max_generation_rounds": Field(
    1, "Rounds of sampling to fill train_groups with mixed groups.", low=1
  ),
  "num_minibatches": Field(4, "Optimizer updates per rollout.", low=1),
  "max_prompt_length": Field(1024, "Tokens of a prompt, at most.", low=1),
  "max_response_length": Field(2048, "Tokens of a response, at most.", low=1),
  "temperature": Field(1.0, "Sampling temperature.", above=0),
  "top_k": Field(0, "Tokens to sample from; 0: all.", low=0),
  "top_p": Field(1.0, "Nucleus sampling; 1: off.", above=0, high=1),
  "min_p": Field(
    0.0,
    "Smallest probability to sample, as a share of the largest; 0: off.",
    low=0,
    high=1,
  ),
  "uniform_share": Field(
    0.0,
    "Share of a group's responses whose tokens are drawn uniformly among the "
    "likely ones (1/2: Mixed-CUTS); below 1 one response at least is not.",
    low=0,
    high=1,
  ),
  "uniform_top_k": Field(5, "Likely tokens to draw from, at most.", low=1),
  "uniform_floor": Field(
    0.03, "Smallest probability of a likely token.", low=0, high=1
  ),
  "uniform_after": Field(
    5, "Tokens of such a response that are drawn as usual first.", low=0
  ),
  "slots": Field(0, "Sequences decoded at a time; 0: all of the step.", low=0),
  "kv_tokens": Field(
    0, "Tokens in the KV cache; 0: slots times the longest sequence.", low=0
  ),
  "recompute_old_logp": Field(
    True,
    "Compute old log-probs with the trainer; False: take the sampler's.",
  ),
  "pack": Field(
    False,
    "Put several responses in one row of the update; loss and gradient stay "
    "the same, up to rounding.",
  ),
  "share_prompts": Field(
    False, "As `pack`, with the prompt of a group stored once per row."
  ),
  "devices": Field(
    0,
    "Devices that sample and do not train, equally many of each process; 0: "
    "all devices do both.",
    low=0,
  ),
  "tensor": Field(
    1, "Of `devices`, those that split each layer together.", low=1
  ),
  "max_staleness": Field(
    0,
    "Steps that the weights of a token may be older than those that learn from "
    "it. 0: sampling and updates take turns; above it they overlap.",
    low=0,
  ),
  "partial_tokens": Field(
    0,
    "New tokens of a response per step; a longer one continues in the next "
    "step, and its group is trained on once complete, however old. 0: no "
    "limit.",
    low=0,
  ),
  "weight_dtype": Field(
    "",
    "Dtype of the sampler's copy of the weights; '': the compute dtype.",
    choices=("", "bfloat16", "int8"),
  ),
  "draft_tokens": Field(
    0,
    "Tokens of a prompt look-up draft, tried where few sequences are decoded "
    "and only while it saves time; completions do not change. 0: no drafts.",
    low=0,
  ),
  "tis_cap": Field(
    2.0,
    "Cap of the importance weights pi_old / pi_sampler, which correct the loss "
    "where max_staleness, partial_tokens or weight_dtype makes rollouts off "
    "policy.",
    above=0,
  ),
  "accept": {
    "name": Field(
      "everything",
      "Responses to train on, by their advantages (training/filters.py).",
    ),
    "args": Open("Arguments of that filter."),
  },
}

IMPLICIT_REWARD: Section = {
  "learning_rate": Field(1e-6, "Learning rate of the reward model.", low=0),
  "loss": Field(
    "cross_entropy",
    "Loss of the reward model.",
    choices=("cross_entropy", "pairwise"),
  ),
  "best_of_n": Field(
    "",
    "Weigh a response by how likely it is the best of its group, in accuracy "
    "or in score; '': all alike.",
    choices=("", "accuracy", "score"),
  ),
  "beta": Field(0.05, "Reward of a token: beta log(pi_rm / pi_ref).", above=0),
  "lam": Field(0.0, "Decay in reward_t += lam reward_{t+1}.", low=0, high=1),
  "normalize": Field(True, "Scale the largest reward-to-go to 1."),
  "sum_to_outcome": Field(
    False, "Shift rewards so that a response's sum is its outcome."
  ),
}

OPTIMIZER: Section = {
  "name": Field("adamw", "Optimizer.", choices=("adamw", "sgd")),
  "learning_rate": Field(1e-6, "Peak learning rate.", low=0),
  "schedule": Field(
    "constant",
    "Learning rate after the warm-up.",
    choices=("constant", "cosine", "linear"),
  ),
  "warmup_steps": Field(0, "Updates of linear warm-up.", low=0),
  "b1": Field(0.9, "Decay of AdamW's first moment.", low=0, high=1),
  "b2": Field(0.999, "Decay of AdamW's second moment.", low=0, high=1),
  "eps": Field(1e-8, "AdamW's epsilon.", low=0),
  "weight_decay": Field(0.0, "AdamW's weight decay.", low=0),
  "grad_clip": Field(1.0, "Largest norm of the gradient.", above=0),
  "max_skipped": Field(
    8, "Updates in a row that may be not finite before the run stops.", low=1
  ),
  "micro_batches": Field(
    1, "Slices of a mini-batch whose gradients are accumulated.", low=1
  ),
  "logits_chunk": Field(1024, "Tokens per chunk of the fused head.", low=1),
  "lookahead": {
    "steps": Field(
      0,
      "Gradient steps that a jump along two of them stands for (GXPO, 5): an "
      "update makes three optimizer steps; 0: off, one.",
      low=2,
      extra=(0,),
    ),
    "share": Field(0.5, "Share of the jump that is made.", above=0, high=1),
    "threshold": Field(
      1.0,
      "Standard deviations by which the gradient's norm may exceed its mean; "
      "then jumps end for good.",
      above=0,
    ),
    "window": Field(30, "Updates that this mean is over.", low=2),
  },
}

EVAL: Section = {
  "every": Field(10, f"Steps between evaluations{_EVERY}.", low=0),
  "problems": Field(256, "Held-out problems, at most.", low=1),
  "samples": Field(
    4, "Responses per problem, for accuracy, pass@k and maj@k.", low=1
  ),
  "temperature": Field(1.0, "Temperature of these responses.", low=0),
  "final_temperatures": Field(
    (),
    "Further temperatures, for the final policy; metrics at 0.6 are named "
    "at_0.6/accuracy and so on.",
  ),
  "top_p": Field(1.0, "Nucleus sampling; 1: off.", above=0, high=1),
  "top_k": Field(0, "Tokens to sample from; 0: all.", low=0),
  "max_response_length": Field(
    0, "Tokens of a response; 0: rollout.max_response_length.", low=0
  ),
  "source_temperatures": Field(
    (), "Pairs (data source, temperature) that differ; 0 is greedy."
  ),
  "greedy": Field(True, "Measure greedy accuracy as well."),
}

FIELDS: Section = {
  "name": Field("run", "Name of the run in logs and reports."),
  "seed": Field(0, "Seed of every random number.", low=0),
  "steps": Field(200, "Steps: a rollout with all of its updates.", low=1),
  "recipe": Field(
    "grpo",
    "Method: a loss, an advantage estimator and a group filter, each of which "
    "its own field replaces.",
    choices=tuple(RECIPES),
  ),
  "mesh": {
    "data": Field(
      1, "Devices with copies of the parameters.", low=1, extra=(-1,)
    ),
    "fsdp": Field(
      -1,
      "Devices that share the parameters; -1: all that are left.",
      low=1,
      extra=(-1,),
    ),
    "tensor": Field(1, "Devices that split each layer.", low=1, extra=(-1,)),
    "context": Field(1, "Devices that split sequences.", low=1, extra=(-1,)),
    "expert": Field(
      1,
      "Devices that share the experts of a mixture, and split rows as well.",
      low=1,
      extra=(-1,),
    ),
  },
  "model": MODEL,
  "task": {
    "name": Field("files", "Task: a name of data/task.py or an import path."),
    "args": Open("Arguments of the task."),
  },
  "prompt": PROMPT,
  "reward": REWARD,
  "sft": SFT,
  "rollout": ROLLOUT,
  "advantage": {
    "name": Field("", "Advantage estimator; '': the recipe's."),
    "args": Open("Arguments of the estimator."),
  },
  "loss": {
    "name": Field("", "Objective; '': the recipe's."),
    "args": Open("Arguments of the objective."),
    "statistics": Field(
      "minibatch",
      "Tokens that means and quotas of the loss are taken over; 'microbatch' "
      "is what some other code bases do.",
      choices=("minibatch", "microbatch"),
    ),
    "nucleus": Field(
      0.8,
      "Probability that the nucleus stays below, for losses that read its "
      "entropy.",
      above=0,
      high=1,
    ),
    "controllers": Open(
      "Controllers that drive arguments of the loss, as coefficient=dict("
      "name='target_entropy', target=.3, start=1.)."
    ),
  },
  "critic": {
    "learning_rate": Field(1e-5, "Learning rate of the critic.", low=0),
    "clip": Field(0.5, "Trust region of a value around its old one.", above=0),
  },
  "implicit_reward": IMPLICIT_REWARD,
  "teacher": {
    "weights": Field(
      "",
      "Model that the loss 'distillation' draws the policy toward, as "
      "model.weights; of the same vocabulary.",
    ),
    "template": Field(
      "{prompt}\n\nThe correct answer is {answer}.",
      "Prompt of the informed teacher, whose log-probs the losses 'rlsd' and "
      "'rlrt' read: text with {prompt} and {answer}.",
    ),
    "max_prompt_length": Field(
      0,
      "Tokens of the teacher's prompt, at most; 0: 128 more than "
      "rollout.max_prompt_length.",
      low=0,
    ),
  },
  "optimizer": OPTIMIZER,
  "eval": EVAL,
  "probe": {
    "every": Field(
      0, "Steps between probes of entropy dynamics; 0: never.", low=0
    ),
    "states": Field(512, "Pairs (prompt, prefix) of a probe.", low=1),
    "token_fraction": Field(
      0.0,
      "Share of the trained tokens that every rule of selection picks, to "
      "compare which tokens these are and what the rules predict; 0: off. "
      "Scores a rollout a second time.",
      low=0,
      high=1,
    ),
  },
  "checkpoint": {
    "every": Field(20, f"Steps between checkpoints{_EVERY}.", low=0),
    "keep": Field(2, "Newest checkpoints to keep.", low=1),
    "keep_best": Field(1, "Best policies to keep, for --best; 0: none.", low=0),
    "best_by": Field(
      run_files.HELD_OUT_ACCURACY, "Evaluation metric of the best policy."
    ),
  },
  "log": {
    "writers": Field(
      ("tensorboard",),
      "Where records go beside metrics.jsonl.",
      choices=("tensorboard", "wandb", "trackio", "mlflow"),
    ),
    "profile_steps": Field(
      (),
      "First and last step of a trace of the program, in the run's folder "
      "profile/; empty: none.",
    ),
    "samples_every": Field(
      20, "Steps between writes of samples.jsonl; 0: never.", low=0
    ),
  },
}


def get_config() -> ConfigDict:
  """Returns the default configuration, every field with its type."""
  return make(FIELDS)
