"""Messages at the start of a run, and the settings that fix its length."""

from collections.abc import Container

import jax
from ml_collections import ConfigDict

from jaxrl_entropy.data.task import Task
from jaxrl_entropy.training.policy import Policy


def describe(config: ConfigDict, policy: Policy, task: Task) -> str:
  """Returns one line on the model, task, method and devices of a run."""
  model = config.model
  count = sum(leaf.size for leaf in jax.tree.leaves(policy.params))
  sizes = (
    f"{task.size(split) or 'generated'} {split}" for split in ("train", "test")
  )
  axes = (f"{axis} {n}" for axis, n in policy.mesh.shape.items() if n > 1)
  devices = policy.mesh.devices
  return (
    f"model: {model.weights or f'{model.preset} with random weights'}, "
    f"{count / 1e6:.2f}M parameters in {model.param_dtype}; "
    f"task: {config.task.name}, {' and '.join(sizes)} problems; "
    f"method: {config.recipe}; "
    f"devices: {devices.size} x {devices.flat[0].device_kind}"
    f"{', '.join(('', *axes))}"
  )


def tied_to_steps(config: ConfigDict, needs: Container[str]) -> str:
  """Returns the setting that depends on the number of steps, "" if none does.

  Args:
    config: of the run.
    needs: fields that its loss and its advantages read.
  """
  if config.optimizer.schedule != "constant":
    return f"optimizer.schedule={config.optimizer.schedule!r}"
  if config.rollout.accept.name != "everything":
    return f"rollout.accept.name={config.rollout.accept.name!r}"
  if "progress" in needs:
    return f"advantage.name={config.advantage.name!r}"
  # Responses left unfinished by the last step are not continued.
  return "rollout.partial_tokens" if config.rollout.partial_tokens else ""
