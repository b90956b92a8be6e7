"""Supervised fine-tuning (SFT) on a task's demonstrations.

Imitation is REINFORCE with advantage 1 on somebody else's responses, so the
update is the one of reinforcement learning.
"""

from collections.abc import Callable, Sequence
import hashlib
import json
from pathlib import Path

import jax
from ml_collections import ConfigDict
import numpy as np

from jaxrl_entropy import losses, sharding
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.distributed import Preemption
from jaxrl_entropy.errors import PREEMPTED, UserError
from jaxrl_entropy.training import (
  build,
  memory,
  packed_batch,
  state as state_lib,
)
from jaxrl_entropy.training.build import Policy
from jaxrl_entropy.training.checkpoint import Checkpoints
from jaxrl_entropy.training.lease import lease_for_job
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.training.run_log import Progress
from jaxrl_entropy.training.update import make_update
from jaxrl_entropy.types import Params

# Settings of the optimiser that SFT shares with the run.
OPTIMIZER = ("b1", "b2", "eps", "weight_decay", "grad_clip", "warmup_steps")
IMITATION = {"name": "adamw"}  # and what it does not
SAVE_EVERY = 400
SHOW_EVERY = 20


def fine_tune(config: ConfigDict, workdir: str | Path) -> None:
  """Runs the SFT stage of a run alone and saves its checkpoint.

  Raises:
    UserError: if the config has no SFT steps.
  """
  if not config.sft.steps:
    raise UserError(
      "sft.steps is 0, so there is nothing to fine-tune: set --config.sft.steps"
    )
  policy = build.build_policy(config)
  memory.check_training(IMITATION["name"], policy.params)
  with jax.set_mesh(policy.mesh), Preemption() as preemption:
    fine_tuned_params(config, policy, Path(workdir), preemption)
  print(f"sft: {start_folder(config, Path(workdir))}")


def fine_tuned_params(
  config: ConfigDict, policy: Policy, workdir: Path, preemption: Preemption
) -> Params:
  """Parameters after `config.sft.steps` of imitation.

  The optimiser is AdamW, whatever trains the policy afterwards: gradients of an
  untrained model are too unlike in size for plain descent.
  A finished SFT checkpoint is reused; an unfinished one is resumed.

  Raises:
    SystemExit: with status `PREEMPTED`, once what was done is saved.
  """
  folder = start_folder(config, workdir)
  with lease_for_job(folder) as check_lease:
    return _imitate(config, policy, folder, preemption, check_lease)


def _imitate(
  config: ConfigDict,
  policy: Policy,
  folder: Path,
  preemption: Preemption,
  check_lease: Callable[[], None],
) -> Params:
  """Runs the SFT steps that are not done yet and saves them in `folder`."""
  steps = config.sft.steps
  schedule = ConfigDict(config.optimizer)
  with schedule.unlocked():
    schedule.update(IMITATION)
    schedule.schedule = "cosine"
    schedule.learning_rate = config.sft.learning_rate
  optimizer = state_lib.make_optimizer(
    schedule, state_lib.learning_rate(schedule, steps)
  )
  state = state_lib.init_state(
    policy.params, optimizer, config.seed, policy.mesh
  )
  checkpoints = Checkpoints(folder, keep=1)
  found = checkpoints.restore(state)
  done, state = (found.step, found.state) if found else (0, state)
  objective = losses.objective(
    losses.log_likelihood(), aggregate=losses.token_mean()
  )
  update = make_update(
    lambda _: objective,
    optimizer,
    build.build_forward(config, policy.model),
    sharding.param_shardings(state, policy.mesh),
    num_responses=config.sft.batch_size,
    max_length=config.rollout.max_response_length,
  )
  progress = Progress("sft", steps, done)
  for step in range(done, steps):
    state, metrics = update(state, _batch(config, policy, step))
    done, stop = step + 1, False
    if done % SHOW_EVERY == 0 or done == steps:
      progress.show(done, loss=float(metrics["loss"].compute()))
      stop = preemption.requested()
    if stop or done % SAVE_EVERY == 0 or done == steps:
      check_lease()
      checkpoints.save(done, state, {}, np.zeros(1, np.uint8))
    if stop and done < steps:
      checkpoints.close()
      raise SystemExit(PREEMPTED)
  checkpoints.close()
  return state.params


def _batch(config: ConfigDict, policy: Policy, step: int) -> Rows:
  """Fresh demonstrations; a pure function of the seed and the step."""
  size = config.sft.batch_size
  rng = np.random.default_rng([config.seed, step])
  pairs = policy.task.demonstrations(rng, size, config.sft.wrong_share)
  rows = packed_batch.fill_rows(
    *_encode(pairs, policy, config),
    packed_batch.one_per_row(size),
    rows=size,
    length=build.row_length(config),
  )
  ones = np.ones(rows.mask.shape, np.float32)
  rows = rows.replace(signals={"advantages": ones, "old_logp": 0 * ones})
  return packed_batch.put(rows, 1, policy.mesh)


def _encode(
  pairs: Sequence[tuple[Problem, str]], policy: Policy, config: ConfigDict
) -> tuple[list[np.ndarray], list[np.ndarray]]:
  """Prompt and response ids, the response ended by the stop token."""
  tokenizer, limit = policy.tokenizer, config.rollout.max_prompt_length
  prompts, responses = [], []
  for problem, response in pairs:
    prompts.append(np.array(build.encode_prompt(problem, tokenizer, limit)))
    ids = [*tokenizer.encode(response), tokenizer.eos_id]
    longest = config.rollout.max_response_length
    if len(ids) > longest:
      raise UserError(
        f"the demonstration for problem {problem.id} has {len(ids)} tokens and "
        f"rollout.max_response_length is {longest}: raise it"
      )
    responses.append(np.array(ids, np.int32))
  return prompts, responses


def start_folder(config: ConfigDict, workdir: Path) -> Path:
  """Returns the folder of this config's SFT checkpoint, made if missing.

  `sft.folder` is relative to the workdir; runs of a study share it. The
  name in it is a digest of all that decides the result.
  """
  optimizer = {name: config.optimizer[name] for name in OPTIMIZER} | IMITATION
  parts = {
    "seed": config.seed,
    "optimizer": optimizer,
    "temperature": config.rollout.temperature,
    "model": config.model.to_dict(),
    "task": config.task.to_dict(),
    "sft": config.sft.to_dict(),
    "prompt_length": config.rollout.max_prompt_length,
    "response_length": config.rollout.max_response_length,
  }
  text = json.dumps(parts, indent=2, sort_keys=True)
  digest = hashlib.sha256(text.encode()).hexdigest()[:8]
  name = f"{config.model.preset}-{digest}"
  folder = (workdir / config.sft.folder / name).resolve()
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "made_of.json").write_text(text)
  return folder
