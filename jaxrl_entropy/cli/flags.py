"""Command-line flags that several commands share."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ml_collections import ConfigDict

from jaxrl_entropy import config as config_lib, paths
from jaxrl_entropy.errors import UserError


class Parser(argparse.ArgumentParser):
  """An argparse parser that reports mistakes as UserErrors."""

  def error(self, message: str) -> NoReturn:
    raise UserError(f"{message}; see {self.prog} --help")


def parser(command: str, description: str, examples: str) -> Parser:
  """Returns the parser of one command.

  Args:
    command: its name, behind `jaxrl-entropy`.
    description: text above the flags in its help.
    examples: command lines that end its help, one a line, indented.
  """
  return Parser(
    prog=f"jaxrl-entropy {command}",
    description=description,
    epilog="examples:\n" + examples,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )


def add_config_flag(command: Parser, required: bool = True) -> None:
  """Adds `--config`; `parse_with_overrides` reads the overrides beside it.

  Args:
    command: parser that is given the flag.
    required: whether the command cannot run without it.
  """
  command.add_argument(
    "--config",
    required=required,
    metavar="FILE.py[:ARG]",
    help="config file; --config.FIELD=VALUE changes one field of it",
  )


def add_workdir_flag(command: Parser, help: str) -> None:
  """Adds `--workdir`, a required local folder that the command writes to.

  Args:
    command: parser that is given the flag.
    help: what the command writes there, for its help.
  """

  def folder(text: str) -> Path:
    try:
      return paths.local_folder(text, "--workdir")
    except UserError as error:
      raise argparse.ArgumentTypeError(str(error)) from error

  command.add_argument("--workdir", required=True, type=folder, help=help)


def add_policy_flags(command: Parser) -> None:
  """Adds `--config`, `--workdir` and `--best`, which name a policy."""
  add_config_flag(command, required=False)
  command.add_argument(
    "--workdir", metavar="DIR", help="folder of the run that trained the policy"
  )
  command.add_argument(
    "--best", action="store_true", help="the run's best policy, not its last"
  )


def read_config(
  args: argparse.Namespace, overrides: Sequence[tuple[str, str]]
) -> ConfigDict:
  """Returns the config that the flags of `add_policy_flags` name.

  It is the config of `--config`, with the model of the run in `--workdir` if
  there is one, or else the config of that run.

  Args:
    args: parsed flags, with `config`, `workdir` and `best` among them.
    overrides: pairs of a dotted field and its value as text; with both
      `--config` and `--workdir` they do not reach the model.

  Raises:
    UserError: if the flags name no policy, or a config cannot be read.
  """
  if not (args.config or args.workdir):
    raise UserError("no policy is named: give --workdir or --config")
  if args.best and not args.workdir:
    raise UserError("--best is the best policy of a run: give --workdir")
  if not args.config:
    return config_lib.of_run(args.workdir, overrides)
  config = config_lib.load(args.config, overrides)
  if args.workdir:
    with config.unlocked():
      config.model.update(config_lib.read(args.workdir)["model"])
  return config


def parse_with_overrides(
  command: Parser, argv: Sequence[str]
) -> tuple[argparse.Namespace, list[tuple[str, str]]]:
  """Returns the flags, and a pair (field, value) per `--config.FIELD=VALUE`.

  Args:
    command: the command's parser.
    argv: the words after the command's name.

  Raises:
    UserError: if a flag is neither, or lacks its value.
  """
  args, rest = command.parse_known_args(argv)
  overrides = []
  while rest:
    flag, equals, value = rest.pop(0).partition("=")
    field = flag.removeprefix("--config.")
    if field == flag:
      command.error(f"unknown flag {flag}")
    if not equals:
      if not rest:
        command.error(f"{flag} needs a value")
      value = rest.pop(0)
    overrides.append((field, value))
  return args, overrides
