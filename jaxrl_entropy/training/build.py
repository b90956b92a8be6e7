"""Makes the task, forward pass, sampler and requests of a config."""

from collections.abc import Collection, Container, Sequence, Set
import dataclasses
from typing import Any

from jax import Device
from jax.sharding import Mesh
from ml_collections import ConfigDict

from jaxrl_entropy import sharding
from jaxrl_entropy.data import task as task_lib
from jaxrl_entropy.data.task import Problem, Task
from jaxrl_entropy.data.tasks import listed
from jaxrl_entropy.data.tokenizers import Tokenizer
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.sampling.request import Request, Uniform
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.training import kernels, token_probe
from jaxrl_entropy.training.auxiliary import critic, implicit_reward
from jaxrl_entropy.training.auxiliary.base import Role
from jaxrl_entropy.training.forward import MOMENTS, Forward
from jaxrl_entropy.training.layout import Layout
from jaxrl_entropy.training.policy import Policy, sampled_length

# The models that learn beside the policy, by the field that asks for them.
ROLES = {
  "values": critic.critic,
  "process_rewards": implicit_reward.implicit_reward,
}


def build_task(config: ConfigDict, tokenizer: Tokenizer) -> Task:
  """Returns the task of a config, without prompts that are too long.

  Args:
    config: of the run.
    tokenizer: renders the prompts, whose lengths are counted in tokens.

  Raises:
    UserError: if the task cannot be made, or no prompt is short enough.
  """
  return listed.fit(
    task_lib.resolve(config.task.name, config.task.args),
    lambda problem: tokenizer.render(problem.prompt, problem.system or None),
    config.rollout.max_prompt_length,
  )


def build_forward(
  config: ConfigDict,
  model: TransformerConfig,
  needs: Collection[str] = (),
  teacher: Forward | None = None,
) -> Forward:
  """Returns the training forward pass of a config.

  Args:
    config: the whole configuration.
    model: the decoder.
    needs: fields of a TokenBatch that are read.
    teacher: forward pass of a teacher model, if there is one.

  Raises:
    UserError: if the model's attention cannot share prompts, and should; or
      there are router losses, and no experts; or its back-end needs a GPU.
  """
  router = not {"router_balance", "router_z"}.isdisjoint(needs)
  if router and not model.num_experts:
    raise UserError(
      "config.model.router_balance or router_z is above 0, and the model has "
      "no experts: set them to 0"
    )
  return Forward(
    model,
    temperature=config.rollout.temperature,
    remat=config.model.remat,
    attention=_attention(config, model),
    chunk=config.optimizer.logits_chunk,
    moments=not MOMENTS.isdisjoint(needs),
    teacher=teacher,
    nucleus=config.loss.nucleus if "nucleus_entropy" in needs else 0.0,
    rank="rank" in needs,
    router=router,
    replay=config.model.routing_replay,
  )


def build_passes(
  config: ConfigDict,
  policy: Policy,
  guide: Policy | None,
  needs: Set[str],
  layout: Layout,
) -> tuple[Forward, Forward]:
  """Returns the forward passes of updates and of scoring.

  Their kernels are those that a trial on the run's own shapes chose.

  Args:
    config: the whole configuration.
    policy: the decoder and its mesh.
    guide: the teacher of distillation; None without one.
    needs: fields of a TokenBatch that the objective reads.
    layout: rows of the batches.
  """
  sizes = policy.mesh, layout.slice_rows, layout.row_length
  guiding = None
  if guide is not None:
    guiding = dataclasses.replace(
      kernels.tried_forward(build_forward(config, guide.model), *sizes),
      replay=False,
    )
  training = kernels.tried_forward(
    build_forward(config, policy.model, needs, guiding), *sizes
  )
  compared = token_probe.NEEDS if config.probe.token_fraction else set()
  scoring = build_forward(config, policy.model, needs | compared)
  return training, dataclasses.replace(
    scoring,
    attention=training.attention,
    agreement=scoring.replay,
    embedded=layout.capacity if "embedding" in needs else 0,
  )


def _attention(config: ConfigDict, model: TransformerConfig) -> str:
  """Returns the attention back-end, one with shared prefixes if needed."""
  backend: str = config.model.attention
  if backend == "cudnn" and sharding.platform() != "gpu":
    raise UserError(
      "config.model.attention is 'cudnn', which needs an NVIDIA GPU: use 'auto'"
    )
  if not config.rollout.share_prompts:
    return backend
  if backend == "splash" or any(model.windows):
    reason = "a layer has a window" if any(model.windows) else "splash is set"
    raise UserError(
      f"config.rollout.share_prompts is on, and {reason}: that attention does "
      "not know shared prompts; set rollout.pack instead"
    )
  return "xla" if sharding.platform() == "tpu" else backend


def build_roles(
  config: ConfigDict, forward: Forward, needs: Container[str]
) -> list[Role]:
  """Returns the auxiliary models for the batch fields in `needs`.

  Args:
    config: of the run.
    forward: the policy's forward pass; the models are decoders like it, without
      the statistics that only the policy's objective reads.
    needs: fields of a TokenBatch that the method reads.
  """
  plain = dataclasses.replace(
    forward,
    moments=False,
    nucleus=0.0,
    rank=False,
    router=False,
    teacher=None,
    replay=False,
  )
  return [
    make(config, plain) for field, make in ROLES.items() if field in needs
  ]


def make_meshes(config: ConfigDict) -> tuple[Mesh, Mesh]:
  """Returns the mesh that trains and the one that samples; often the same.

  Raises:
    UserError: if rollouts should be sampled beside updates on the same devices.
    ValueError: if the sizes do not fit the devices.
  """
  rollout = config.rollout
  if rollout.devices:
    trainers, samplers = sharding.split_devices(rollout.devices)
    if rollout.max_staleness:
      check_programs_overlap(trainers, samplers)
    return (
      sharding.mesh_of_part(trainers, **config.mesh),
      sharding.mesh_of_part(samplers, data=-1, tensor=rollout.tensor),
    )
  mesh = sharding.make_mesh(**config.mesh)
  check_turns(rollout, mesh.size)
  return mesh, mesh


def check_programs_overlap(
  trainers: Sequence[Device], samplers: Sequence[Device]
) -> None:
  """Raises where programs of trainer and sampler cannot run side by side.

  XLA runs programs that span several CPU devices of a process one after the
  other. If two processes of a job begin with different ones, each waits in a
  collective for the other, for ever. The order is one of XLA's CPU client.

  Args:
    trainers: devices that train.
    samplers: devices that sample.

  Raises:
    UserError: a process of a job has several CPU devices for each.
  """
  both = [*trainers, *samplers]
  processes = {device.process_index for device in both}
  if len(processes) == 1 or both[0].platform != "cpu":
    return
  for process in processes:
    train, sample = (
      sum(device.process_index == process for device in devices)
      for devices in (trainers, samplers)
    )
    if min(train, sample) > 1:
      raise UserError(
        f"process {process} has {train} CPU devices that train and {sample} "
        "that sample, and XLA runs the programs of several CPU devices one at "
        "a time: processes that begin with different ones would wait for each "
        "other for ever; set JAX_NUM_CPU_DEVICES=2 and rollout.devices to the "
        "number of processes, or rollout.max_staleness to 0"
      )


def check_turns(rollout: ConfigDict, devices: int) -> None:
  """Raises if rollouts should be sampled beside updates on the same devices.

  Args:
    rollout: `config.rollout` of a run that does not split its devices.
    devices: of the run.

  Raises:
    UserError: they are several, which would only take turns.
  """
  if rollout.max_staleness and devices > 1:
    raise UserError(
      f"config.rollout.max_staleness is {rollout.max_staleness}, and the same "
      f"{devices} devices would sample and train, which would only take "
      "turns: set rollout.devices to the number that samples"
    )


def build_sampler(
  config: ConfigDict,
  model: TransformerConfig,
  mesh: Mesh,
  routes: bool = False,
  *,
  tried: bool = False,
) -> Sampler:
  """Returns the sampler of the rollouts, which also serves evaluation.

  Args:
    config: of the run.
    model: the decoder.
    mesh: its devices.
    routes: record the experts of each token, for `model.routing_replay`.
    tried: use the kernel that a trial on these devices finds right and fast;
      else XLA's attention is used.

  Raises:
    UserError: if routing replay is on, and the model has no experts.
    ValueError: if the longest prompt with the longest response could never fit.
  """
  rollout, length = config.rollout, sampled_length(config)
  slots = rollout.slots or rollout.prompts_per_step * rollout.group_size
  if routes and not model.num_experts:
    raise UserError(
      "config.model.routing_replay is on, and the model has no experts: set it "
      "to False"
    )
  tuning = None
  if tried:
    tuning = kernels.tried_tuning(model, mesh, slots, length)
  sampler = Sampler(
    model,
    mesh,
    slots=slots,
    max_prompt_length=rollout.max_prompt_length,
    max_length=length,
    kv_tokens=rollout.kv_tokens,
    weight_dtype=rollout.weight_dtype,
    draft_tokens=rollout.draft_tokens,
    routes=routes,
    tuning=tuning,
  )
  longest = (0,) * rollout.max_prompt_length
  sampler.check([Request(longest, **request_settings(rollout))])
  return sampler


def make_requests(
  asked: Sequence[Problem],
  policy: Policy,
  prompt_length: int,
  seeds: Sequence[int],
  **settings: Any,
) -> list[Request]:
  """Returns a sampling request for each problem.

  Args:
    asked: the problems.
    policy: whose tokenizer renders the prompts.
    prompt_length: tokens of a prompt, at most.
    seeds: one for each problem.
    **settings: of every request, see `request_settings`.

  Raises:
    UserError: if a prompt is longer.
  """
  return [
    Request(
      prompt=encode_prompt(problem, policy.tokenizer, prompt_length),
      seed=seed,
      stop_ids=policy.tokenizer.stop_ids,
      **settings,
    )
    for problem, seed in zip(asked, seeds, strict=True)
  ]


def request_settings(rollout: ConfigDict) -> dict[str, Any]:
  """Returns the settings that all requests of `config.rollout` share."""
  share = 1 - rollout.uniform_share
  usual = max(round(share * rollout.group_size), int(share > 0))
  return {
    "n": rollout.group_size,
    "max_tokens": rollout.max_response_length,
    "temperature": rollout.temperature,
    "top_k": rollout.top_k,
    "top_p": rollout.top_p,
    "min_p": rollout.min_p,
    "uniform": Uniform(
      rollout.group_size - usual,
      rollout.uniform_top_k,
      rollout.uniform_floor,
      rollout.uniform_after,
    ),
  }


def encode_prompt(
  problem: Problem, tokenizer: Tokenizer, limit: int
) -> tuple[int, ...]:
  """Returns the token ids of a prompt, at most `limit` of them.

  Args:
    problem: its prompt, and its system message if it has one.
    tokenizer: renders them with its chat template.
    limit: `rollout.max_prompt_length`, tokens.

  Raises:
    UserError: if the prompt is longer.
  """
  ids = tuple(tokenizer.render(problem.prompt, problem.system or None))
  if len(ids) > limit:
    raise UserError(
      f"the prompt of problem {problem.id} has {len(ids)} tokens and "
      f"rollout.max_prompt_length is {limit}: raise it, or filter the data"
    )
  return ids
