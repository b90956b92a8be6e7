"""What would fit, where a program does not."""

from collections.abc import Callable, Iterator

from ml_collections import ConfigDict

from jaxrl_entropy.planning import report
from jaxrl_entropy.planning.compiling import Result
from jaxrl_entropy.planning.report import Plan

Overrides = tuple[tuple[str, str], ...]


def advise(
  plan: Plan, config: ConfigDict, compile_with: Callable[[Overrides], Result]
) -> list[str]:
  """Settings that make a plan fit, if there are.

  Args:
    plan: one that does not fit, or is tight.
    config: its config.
    compile_with: compiles the train step with other settings.
  """
  found = []
  train = plan.results["train"]
  if _does_not_fit(train, plan):
    found.append(_advise_train(plan, config, compile_with))
  together = report.judge(plan.phases["sampling beside it"], plan.topology)
  if together != report.FITS or _does_not_fit(plan.results["decode"], plan):
    found += _advise_cache(plan, config)
  return found


def _does_not_fit(result: Result, plan: Plan) -> bool:
  return (
    result.status == "out of memory"
    or report.judge(result.needed, plan.topology) == report.TOO_BIG
  )


def _advise_train(
  plan: Plan, config: ConfigDict, compile_with: Callable[[Overrides], Result]
) -> str:
  tried = 0
  for overrides in _candidates(plan, config):
    result = compile_with(overrides)
    tried += 1
    if result.status == "ok" and not _does_not_fit(result, plan):
      flags = " ".join(f"--config.{k}={v}" for k, v in overrides)
      gib = (result.needed or 0) / 2**30
      return f"train fits with {flags} ({gib:.2f} GiB)"
  return (
    f"train does not fit with any of {tried} other settings of micro-batches "
    "and mesh: use a larger slice, model.remat=full, or a shorter "
    "rollout.max_response_length"
  )


def _candidates(plan: Plan, config: ConfigDict) -> Iterator[Overrides]:
  """More micro-batches on this mesh, then a wider tensor axis."""
  mesh = dict(plan.mesh)
  responses = config.rollout.groups * config.rollout.responses
  responses //= config.optimizer.updates
  most = max(responses // (mesh["data"] * mesh["fsdp"]), 1)
  micro = config.optimizer.micro_batches
  while micro < most:
    micro = min(2 * micro, most)
    yield (("optimizer.micro_batches", str(micro)),)
  while mesh["fsdp"] % 2 == 0:
    mesh["fsdp"] //= 2
    mesh["tensor"] *= 2
    most *= 2
    yield (
      ("mesh.fsdp", str(mesh["fsdp"])),
      ("mesh.tensor", str(mesh["tensor"])),
      ("optimizer.micro_batches", str(most)),
    )


def _advise_cache(plan: Plan, config: ConfigDict) -> Iterator[str]:
  """The KV budget that leaves room for the train state."""
  decode, train = plan.results["decode"], plan.results["train"]
  cache = decode.roles.get("KV cache", 0)
  peak = plan.phases["sampling beside it"]
  if peak is None:
    resident = sum(train.roles.values()) + sum(decode.roles.values())
    peak = resident + decode.temporaries
  room = report.TIGHT_FROM * plan.topology.generation.hbm - (peak - cache)
  rollout = config.rollout
  slots = rollout.slots or rollout.prompts * rollout.responses
  length = rollout.max_prompt_length + rollout.max_response_length
  tokens = int((rollout.kv_tokens or slots * length) * room / max(cache, 1))
  if tokens >= length:
    yield f"the sampler fits beside it with --config.rollout.kv_tokens={tokens}"
  else:
    yield (
      "no KV cache leaves room for the train state: use a wider tensor axis "
      "(--config.mesh.tensor) or a larger slice"
    )
