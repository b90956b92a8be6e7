"""Every setting of a run, with its default: the one typed configuration.

A config file starts from `get_config()` and changes fields; a field that is not
here does not exist. Method choices (`loss`, `advantage`, `task`) are a name and
a dict of keyword arguments for the function of that name, or for a function of
the user's own by import path (`my_lab.losses:mine`).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.name = "run"
  config.seed = 0
  # One step is one rollout and all of its updates.
  config.steps = 160

  config.mesh = ConfigDict({"data": 1, "fsdp": -1, "tensor": 1, "context": 1})

  config.model = ConfigDict()
  # A preset of models/config.py; its weights are random unless `weights` says
  # where they are: a Hugging Face folder or a GGUF file.
  config.model.preset = "tiny"
  config.model.weights = ""
  # "symbols" (the task's own symbols), "auto" (beside the weights), or a path.
  config.model.tokenizer = "symbols"
  # Tokens of the longest context; 0: that the weights were made for. More is
  # allowed, with a warning.
  config.model.max_length = 0
  config.model.param_dtype = "float32"
  config.model.compute_dtype = "float32"
  config.model.remat = "none"
  config.model.attention = "auto"
  config.model.lora_rank = 0  # 0: every parameter is trained.
  config.model.lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj")

  config.task = ConfigDict()
  config.task.name = "countdown"
  config.task.args = ConfigDict({}, type_safe=False)

  config.reward = ConfigDict()
  config.reward.workers = 1
  config.reward.timeout = 5.0  # seconds for one response
  config.reward.sandbox = "auto"
  # Installed packages that programs may import, such as ("numpy",).
  config.reward.packages = ()
  # Folders that own verifiers may read, besides their package and its folder.
  config.reward.folders = ()
  config.reward.weight = 1.0  # of the reward of the problem's own verifier
  # Further rewards, by names of your choice:
  # functions.brevity = dict(verifier="my_lab.rewards:brevity", weight=0.2,
  #                          args=dict(words=100))
  config.reward.functions = ConfigDict({}, type_safe=False)
  # The verifier "judge", a model behind an endpoint: arguments of
  # rewards.judge.Judge, at least its address and model.
  config.reward.judge = ConfigDict({}, type_safe=False)
  config.reward.kl_coefficient = 0.0  # reference KL in the reward
  config.reward.kl_kind = "k1"
  # Added for the form of a response, right or wrong: "boxed", "code", "tagged"
  # (<answer>), "think"; "" turns it off.
  config.reward.format = ""
  config.reward.format_bonus = 0.1
  # Length shaping (DAPO): the last `overlong_buffer` tokens cost up to
  # `overlong_penalty`. 0 turns it off.
  config.reward.overlong_buffer = 0
  config.reward.overlong_penalty = 1.0

  config.sft = ConfigDict()
  config.sft.steps = 0  # 0: the policy starts from its weights as loaded.
  # Its checkpoint, relative to the workdir; runs of a study may share one.
  config.sft.folder = "sft"
  config.sft.batch_size = 128
  config.sft.learning_rate = 4e-3
  config.sft.wrong_share = 0.3  # share of demonstrations with a wrong answer
  config.sft.micro_batches = 1  # slices of a mini-batch, for memory
  # Where the responses come from; no name: demonstrations of config.task.
  # "traces" with args path=... imitates those of files (data/tasks/traces.py).
  config.sft.task = ConfigDict({"name": ""})
  config.sft.task.args = ConfigDict({}, type_safe=False)
  config.sft.epochs = 0.0  # passes over the traces, where steps is 0
  config.sft.max_length = 0  # tokens of question and response; 0: of a rollout
  config.sft.eval_every = 100  # steps between held-out losses; 0: at the end
  # Rejection sampling: responses sampled for each question, of which the right
  # ones are imitated; 0: off. And how many training questions are asked.
  config.sft.samples = 0
  config.sft.questions = 1024

  config.rollout = ConfigDict()
  config.rollout.prompts_per_step = 72  # prompts sampled per step
  config.rollout.train_groups = 48  # groups trained on per step, at most
  config.rollout.group_size = 8  # responses per prompt
  config.rollout.filter_groups = True  # drop all-equal groups
  config.rollout.max_generation_rounds = 1  # to fill train_groups
  config.rollout.num_minibatches = 8  # optimizer updates per rollout
  config.rollout.max_prompt_length = 16
  config.rollout.max_response_length = 16
  config.rollout.temperature = 1.0
  config.rollout.top_k = 0  # 0: off
  config.rollout.top_p = 1.0
  config.rollout.min_p = 0.0
  config.rollout.slots = 0  # decode slots; 0: as many as sequences
  config.rollout.kv_tokens = 0  # KV budget in tokens; 0: slots x max length
  # True: old log-probs come from the trainer; False: from the sampler.
  config.rollout.recompute_old_logp = True
  config.rollout.pack = False  # several responses a row
  # The same, and a row holds the prompt of a group once for all its responses.
  config.rollout.share_prompts = False
  # Steps a rollout may lag behind the policy: 1 samples the next rollout
  # before this one's updates.
  config.rollout.max_staleness = 0
  # New tokens of a response in one step; a longer one goes on in the next step
  # and its group is learned from when all of it is complete. 0: no limit.
  config.rollout.partial_tokens = 0
  # Of the sampler's copy of the weights: "bfloat16", "int8"; "": as computed.
  config.rollout.weight_dtype = ""
  # Cap of the weights pi_old / pi_sampler that correct the loss where one of
  # these three makes a rollout off policy.
  config.rollout.tis_cap = 2.0
  # Which responses are learned from (training/filters.py): "everything", or
  # "entropy_band" with args lower=(0.6, 0.4), upper=(0.7, 0.5).
  config.rollout.accept = ConfigDict({"name": "everything"})
  config.rollout.accept.args = ConfigDict({}, type_safe=False)

  config.advantage = ConfigDict()
  config.advantage.name = "grpo"
  config.advantage.args = ConfigDict({}, type_safe=False)

  config.loss = ConfigDict()
  config.loss.name = "grpo"
  config.loss.args = ConfigDict({}, type_safe=False)
  # "microbatch": means and quotas per micro-batch, as some peers compute them.
  config.loss.statistics = "minibatch"
  # What drives an argument of the loss in the run (training/controllers.py):
  # controllers.coefficient = dict(name="target_entropy", target=0.3, start=1.0)
  config.loss.controllers = ConfigDict({}, type_safe=False)

  config.critic = ConfigDict()  # read with advantage.name = "gae"
  config.critic.learning_rate = 3e-4
  config.critic.clip = 0.5  # trust region of a value around its old one

  config.implicit_reward = ConfigDict()  # read with advantage.name = "prime"
  config.implicit_reward.learning_rate = 3e-4
  config.implicit_reward.loss = "cross_entropy"  # or "pairwise"
  # Weighs a response by how likely it is the best of its group, in "accuracy"
  # or in "score"; "": all alike.
  config.implicit_reward.best_of_n = ""
  config.implicit_reward.beta = 0.05  # reward of a token: beta log(rm / ref)
  config.implicit_reward.lam = 0.0  # reward_t += lam reward_{t+1}
  config.implicit_reward.normalize = True  # largest reward-to-go is 1
  config.implicit_reward.sum_to_outcome = False

  config.optimizer = ConfigDict()
  config.optimizer.name = "adamw"  # or "sgd"
  config.optimizer.learning_rate = 3e-4
  config.optimizer.schedule = "constant"  # or "cosine", "linear"
  config.optimizer.warmup_steps = 0  # updates
  config.optimizer.b1 = 0.9
  config.optimizer.b2 = 0.999
  config.optimizer.eps = 1e-8
  config.optimizer.weight_decay = 0.0
  config.optimizer.grad_clip = 1.0
  config.optimizer.max_skipped = 8  # not finite in a row, then the run stops
  config.optimizer.micro_batches = 1  # slices of a mini-batch, for memory
  config.optimizer.logits_chunk = 1024  # tokens a chunk of the fused head

  config.eval = ConfigDict()
  config.eval.every = 10  # steps; 0: only at the end
  config.eval.problems = 256
  config.eval.samples = 4  # of each problem, for accuracy, pass@k and maj@k
  config.eval.temperature = 1.0
  config.eval.top_p = 1.0
  config.eval.top_k = 0  # 0: off
  config.eval.max_response_length = 0  # tokens; 0: rollout.max_response_length
  # Pairs (data source, temperature) that differ; 0 is greedy.
  config.eval.source_temperatures = ()
  config.eval.greedy = True

  config.probe = ConfigDict()
  config.probe.every = 1  # steps; 0: never
  config.probe.states = 512  # (prompt, prefix) pairs, of whole responses

  config.checkpoint = ConfigDict()
  config.checkpoint.every = 20  # steps; 0: only at the end
  config.checkpoint.keep = 2
  # Beside them: the policies that did best in an evaluation, for `--best`.
  config.checkpoint.keep_best = 1  # 0: none
  config.checkpoint.best_by = "eval/held_out/accuracy"  # more is better

  config.log = ConfigDict()
  # Beside metrics.jsonl, any of "tensorboard", "wandb", "trackio".
  config.log.writers = ("tensorboard",)
  return config
