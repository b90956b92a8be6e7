"""Settings that would fit where a program does not, each compiled first."""

from collections.abc import Callable, Iterator
import dataclasses

from ml_collections import ConfigDict

from jaxrl_entropy.planning import report
from jaxrl_entropy.planning.compiling import Result
from jaxrl_entropy.planning.report import Plan

Overrides = tuple[tuple[str, str], ...]
Compile = Callable[[str, Overrides], Result]

# Parts of the largest KV budget that could leave room; the programs need some
# of it themselves.
_SHARES = (0.97, 0.9, 0.75, 0.5, 0.25)
_ROUND = 1024  # tokens
_NOTHING = (
  "neither more micro-batches, nor a smaller KV cache, nor a wider tensor axis "
  "makes it fit: use a larger slice, model.remat=full, or a shorter "
  "rollout.max_response_length"
)


def advise(plan: Plan, config: ConfigDict, compile_with: Compile) -> str:
  """Returns settings with which all programs of a plan fit, if there are any.

  Args:
    plan: one that does not fit.
    config: its config.
    compile_with: compiles a program of it ("train", ...) with other settings;
      without any it gives the plan's own results.
  """
  for place in _places(plan):
    train = _fit_train(plan, config, place, compile_with)
    if train is None:
      continue
    settings, results = train
    sampler = _fit_sampler(plan, config, place, results, compile_with)
    if sampler is None:
      continue
    more, results = sampler
    changes = dict(settings) | dict(more)
    flags = " ".join(f"--config.{k}={v}" for k, v in changes.items())
    phases = dataclasses.replace(plan, results=results).phases
    peaks = ", ".join(
      f"{phase} {(peak or 0) / report.GIB:.2f} GiB"
      for phase, peak in phases.items()
    )
    return f"it fits with {flags} ({peaks})"
  return _NOTHING


def _places(plan: Plan) -> Iterator[Overrides]:
  """Yields this mesh, and those with a wider tensor axis."""
  yield ()
  fsdp, tensor = plan.mesh["fsdp"], plan.mesh["tensor"]
  while fsdp % 2 == 0:
    fsdp, tensor = fsdp // 2, tensor * 2
    yield ("mesh.fsdp", str(fsdp)), ("mesh.tensor", str(tensor))


def _fit_train(
  plan: Plan, config: ConfigDict, place: Overrides, compile_with: Compile
) -> tuple[Overrides, dict[str, Result]] | None:
  """Returns the fewest micro-batches with which the train step fits."""
  for micro in _micro_batches(plan, config, place):
    more = place
    if micro != config.optimizer.micro_batches:
      more += (("optimizer.micro_batches", str(micro)),)
    result = compile_with("train", more)
    if report.judge(result.needed, plan.topology) in report.GOOD:
      return more, {"train": result}
  return None


def _micro_batches(
  plan: Plan, config: ConfigDict, place: Overrides
) -> Iterator[int]:
  """Yields micro-batch counts, doubling; on another mesh only the largest."""
  responses = config.rollout.train_groups * config.rollout.group_size
  responses //= config.rollout.num_minibatches
  most = max(responses // _parts(plan, place), 1)
  micro = most if place else config.optimizer.micro_batches
  yield micro
  while micro < most:
    micro = min(2 * micro, most)
    yield micro


def _parts(plan: Plan, place: Overrides) -> int:
  """Returns the number of mesh shards with rows and slots of their own."""
  fsdp = int(dict(place).get("mesh.fsdp", plan.mesh["fsdp"]))
  return plan.mesh["data"] * fsdp * plan.mesh["expert"]


def _fit_sampler(
  plan: Plan,
  config: ConfigDict,
  place: Overrides,
  train: dict[str, Result],
  compile_with: Compile,
) -> tuple[Overrides, dict[str, Result]] | None:
  """Returns the largest KV budget that fits beside the train state."""
  decode, shards = compile_with("decode", place), _parts(plan, place)
  for tokens in _budgets(plan, config, train["train"], decode, shards):
    more = place
    if tokens:
      more += (("rollout.kv_tokens", str(tokens)),)
    sampler = {name: compile_with(name, more) for name in ("prefill", "decode")}
    trial = dataclasses.replace(plan, results=train | sampler)
    beside = trial.phases["sampling beside it"]
    if report.judge(beside, plan.topology) == report.FITS:
      return more, train | sampler
  return None


def _budgets(
  plan: Plan, config: ConfigDict, train: Result, decode: Result, shards: int
) -> Iterator[int]:
  """Yields falling KV budgets in tokens; the first, 0, is the config's own.

  Each of the `shards` of the data axes must have room for two sequences.
  """
  yield 0
  rollout, cache = config.rollout, decode.roles.get("KV cache")
  if not cache:
    return
  length = rollout.max_prompt_length + rollout.max_response_length
  slots = rollout.slots or rollout.prompts_per_step * rollout.group_size
  own = rollout.kv_tokens or slots * length
  taken = report.resident(train) + decode.roles["sampler copy"]
  room = report.TIGHT_FROM * plan.topology.generation.hbm - taken
  for share in _SHARES:
    tokens = int(share * own * min(room / cache, 1)) // _ROUND * _ROUND
    if tokens >= 2 * length * shards:
      yield tokens
