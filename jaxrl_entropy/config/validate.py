"""Field checks and typed overrides of a config."""

import ast
from collections.abc import Iterable, Iterator
from typing import Any
import warnings

from ml_collections import ConfigDict

from jaxrl_entropy import run_files
from jaxrl_entropy.config import defaults, recipes
from jaxrl_entropy.config.fields import Field, walk
from jaxrl_entropy.errors import UserError, nearest


def apply_overrides(
  config: ConfigDict, overrides: Iterable[tuple[str, str]]
) -> None:
  """Sets dotted fields from text.

  A recipe comes first and clears the parts that the config had chosen: they
  belong to the method that it replaces.

  Args:
    config: changed in place.
    overrides: pairs of a dotted field and its value as text.

  Raises:
    UserError: for an unknown field or a value of the wrong type.
  """
  pairs = sorted(overrides, key=lambda pair: pair[0] != "recipe")
  if pairs and pairs[0][0] == "recipe":
    config.rollout.group_filter = ""
    for argument in list(config.loss.controllers):
      del config.loss.controllers[argument]
    for section in (config.loss, config.advantage):
      section.name = ""
      for key in list(section.args):
        del section.args[key]
  for field, text in pairs:
    override(config, field, text)


def override(config: ConfigDict, field: str, text: str) -> None:
  """Sets the dotted `field` to `text`, read by the type of the field.

  Args:
    config: changed in place.
    field: names of the sections and of the field, joined by dots.
    text: the value as written on the command line, such as `1e-6` or `(1,2)`.

  Raises:
    UserError: naming the nearest valid field, or the expected type and the
      value that was given.
  """
  *sections, name = field.split(".")
  node, known, is_open = config, defaults.get_config(), False
  for section in sections:
    node = _section(node, section, field)
    if not is_open:
      known = known[section]
      is_open = not known.is_type_safe
  if name not in node:
    if not is_open:
      raise _unknown(field, name, node)
    with node.unlocked():
      node[name] = _literal(text)
  elif isinstance(node[name], ConfigDict):
    node[name] = _parse_section(text, node[name], field)
  else:
    old = node[name]
    parse = _parse_open if is_open else _parse
    node[name] = parse(text, old, field)


def _parse_section(text: str, old: ConfigDict, field: str) -> ConfigDict:
  """Returns new arguments, such as {}; sections of known fields stay."""
  value = _literal(text)
  if isinstance(value, dict) and not old.is_type_safe:
    return ConfigDict(value, type_safe=False)
  some = next(_values_of(old), "FIELD")
  raise UserError(f"config.{field} is a section: set config.{field}.{some}")


def _values_of(section: ConfigDict) -> Iterator[str]:
  """Yields the names of a section that are values."""
  for name, value in section.items():
    if not isinstance(value, ConfigDict):
      yield name


def _section(node: ConfigDict, name: str, field: str) -> ConfigDict:
  if name not in node:
    raise _unknown(field, name, node)
  if not isinstance(node[name], ConfigDict):
    raise UserError(f"config.{field}: {name!r} is a value, not a section")
  return node[name]


def _unknown(field: str, name: str, valid: Iterable[str]) -> UserError:
  for old, new in RENAMED.items():
    if field == old or field.startswith(f"{old}."):
      return UserError(
        f"config.{field}: its name is now config.{new}{field.removeprefix(old)}"
      )
  return UserError(
    f"config.{field}: there is no field {name!r}; {nearest(name, valid)}"
  )


# Names of fields before they took the field's words, and their names now.
RENAMED = {
  "pretrain": "sft",
  "optimizer.updates": "rollout.num_minibatches",
  "rollout.prompts": "rollout.prompts_per_step",
  "rollout.responses": "rollout.group_size",
  "rollout.groups": "rollout.train_groups",
  "rollout.filter_groups": "rollout.group_filter",
  "rollout.max_batches": "rollout.max_generation_rounds",
  "rollout.async_rollouts": "rollout.max_staleness",
  "rollout.old_logp": "rollout.recompute_old_logp",
  "rollout.importance_cap": "rollout.tis_cap",
  "loss.scope": "loss.statistics",
  "log.tensorboard": "log.writers",
}


def check_fields(config: ConfigDict, path: str) -> None:
  """Checks that every field of a config is declared.

  Args:
    config: of a file or a run.
    path: of the file, for the message.

  Raises:
    UserError: for the first field that is not, naming the nearest.
  """
  for field, valid in _unknown_fields(config, defaults.get_config(), ""):
    error = _unknown(field, field.rpartition(".")[2], valid)
    raise UserError(f"{path}: {error}")


def check_values(config: ConfigDict) -> None:
  """Checks every value against the range that its field declares.

  Raises:
    UserError: for the first value out of range, naming the field and the range.
  """
  for name, field in walk(defaults.FIELDS):
    if isinstance(field, Field):
      field.check(name, _value(config, name))


def finalize(config: ConfigDict) -> None:
  """Checks a config and writes the parts of its recipe into it.

  Args:
    config: changed in place.

  Raises:
    UserError: for a value out of range, or values that do not fit together.
  """
  check_values(config)
  recipes.resolve(config)
  check_together(config)


def warn_if_idle(config: ConfigDict) -> None:
  """Warns of KL-Cov with one update per rollout, on which it cannot act.

  Its penalty |log-ratio| is 0 at the first update after a rollout.
  """
  if config.loss.name == "kl_cov" and config.rollout.num_minibatches == 1:
    warnings.warn(
      "loss.name is 'kl_cov' with rollout.num_minibatches=1: the policy has "
      "not moved since the rollout, |log-ratio| is 0 and the penalty cannot "
      "act; use 2 mini-batches per rollout or more",
      stacklevel=2,
    )


def check_together(config: ConfigDict) -> None:
  """Checks the values that have to fit each other.

  Raises:
    UserError: naming the fields.
  """
  rollout, mesh = config.rollout, config.mesh
  traced = config.log.profile_steps
  if traced and (len(traced) != 2 or traced[0] > traced[1]):
    raise UserError(
      f"config.log.profile_steps is {traced}: give the first and the last "
      "step, such as 3,5, or nothing"
    )
  if sum(size == -1 for size in mesh.values()) > 1:
    raise UserError(
      f"config.mesh is {dict(mesh)}: only one axis can be -1, 'the rest'"
    )
  if rollout.max_staleness and config.model.routing_replay:
    raise UserError(
      "config.model.routing_replay is on with rollout.max_staleness above 0: "
      "new weights choose experts anew in the middle of a response, and there "
      "is nothing to replay; turn one of them off"
    )
  if rollout.tensor > 1 and not rollout.devices:
    raise UserError(
      f"config.rollout.tensor is {rollout.tensor} without rollout.devices: "
      "where the same devices sample and train, mesh.tensor splits both"
    )
  groups, prompts = rollout.train_groups, rollout.prompts_per_step
  limit = prompts * rollout.max_generation_rounds
  if groups > limit:
    raise UserError(
      f"config.rollout.train_groups is {groups}, and at most {limit} groups "
      "are sampled (prompts_per_step times max_generation_rounds): lower it"
    )
  if rollout.group_filter == "all" and groups not in (0, prompts):
    raise UserError(
      f"config.rollout.train_groups is {groups} and prompts_per_step is "
      f"{prompts}: with group_filter 'all' the other groups would be dropped; "
      "make them equal, or set group_filter='mixed'"
    )
  if rollout.group_filter == "all" and rollout.max_generation_rounds > 1:
    raise UserError(
      "config.rollout.max_generation_rounds is "
      f"{rollout.max_generation_rounds} with group_filter 'all', which never "
      "samples again: set group_filter='mixed'"
    )
  if rollout.group_filter == "mixed" and rollout.group_size == 1:
    raise UserError(
      "config.rollout.group_size is 1 with group_filter 'mixed': one response "
      "is never both right and wrong; raise it, or set group_filter='all'"
    )
  if rollout.num_minibatches > (groups or prompts):
    raise UserError(
      f"config.rollout.num_minibatches is {rollout.num_minibatches}, and a "
      f"step trains on {groups or prompts} groups: lower it"
    )
  buffer, longest = config.reward.overlong_buffer, rollout.max_response_length
  if buffer > longest:
    raise UserError(
      f"config.reward.overlong_buffer is {buffer} tokens, "
      f"more than rollout.max_response_length, {longest}: every response would "
      "be fined; lower it"
    )
  if not config.checkpoint.best_by.startswith(run_files.HELD_OUT):
    raise UserError(
      f"config.checkpoint.best_by is {config.checkpoint.best_by!r}: it must be "
      f"a metric of evaluations, such as {run_files.HELD_OUT_ACCURACY!r}"
    )
  pairs = config.eval.source_temperatures
  if not all(isinstance(p, tuple | list) and len(p) == 2 for p in pairs):
    raise UserError(
      f"config.eval.source_temperatures is {pairs!r}: give pairs of a data "
      "source and a temperature, as (('aime24', 0.6),)"
    )
  temperatures = config.eval.final_temperatures
  if not all(isinstance(t, int | float) and t > 0 for t in temperatures):
    raise UserError(
      f"config.eval.final_temperatures is {temperatures!r}: give numbers above "
      "0, as (0.3, 1.0); eval.greedy measures 0"
    )
  responses = (groups or prompts) * rollout.group_size
  smallest = responses // rollout.num_minibatches
  if config.optimizer.micro_batches > smallest:
    raise UserError(
      f"config.optimizer.micro_batches is {config.optimizer.micro_batches}, "
      f"and a mini-batch has {smallest} responses: lower it"
    )


def _value(config: ConfigDict, name: str) -> Any:
  for key in name.split("."):
    config = config[key]
  return config


def _unknown_fields(
  config: ConfigDict, known: ConfigDict, prefix: str
) -> Iterator[tuple[str, Iterable[str]]]:
  for name, value in config.items():
    if name not in known:
      yield prefix + name, known
    elif isinstance(known[name], ConfigDict) and known[name].is_type_safe:
      yield from _unknown_fields(value, known[name], f"{prefix}{name}.")


def _literal(text: str) -> Any:
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


def _parse_open(text: str, old: Any, field: str) -> Any:
  """Returns the value of a literal; a number where there was one."""
  value, number = _literal(text), int | float
  if isinstance(old, number) and not isinstance(value, number):
    raise UserError(
      f"config.{field}: expected a number (now {old!r}), got {text!r}"
    )
  return value


_WORDS = {"true": True, "1": True, "false": False, "0": False}


def _parse(text: str, old: Any, field: str) -> Any:
  kind = type(old)
  try:
    if kind is bool:
      return _WORDS[text.lower()]
    if kind is tuple:
      return _parse_tuple(text, old)
    return kind(text)
  except (KeyError, ValueError):
    raise UserError(
      f"config.{field}: expected {kind.__name__} (now {old!r}), got {text!r}"
    ) from None


def _parse_tuple(text: str, old: tuple[Any, ...]) -> tuple[Any, ...]:
  """Parses `a,b` or `("a", "b")`; elements get the type of `old`'s first."""
  value = _literal(text)
  if isinstance(value, str):
    value = [item.strip() for item in value.split(",") if item.strip()]
  items = value if isinstance(value, list | tuple) else (value,)
  kind = type(old[0]) if old else (lambda item: item)
  return tuple(kind(item) for item in items)
