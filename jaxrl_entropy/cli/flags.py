"""Command-line flags that several commands share."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from jaxrl_entropy import paths
from jaxrl_entropy.errors import UserError


class Parser(argparse.ArgumentParser):
  """argparse whose complaints are UserErrors."""

  def error(self, message: str) -> NoReturn:
    raise UserError(f"{message}; see {self.prog} --help")


def parser(command: str, description: str, examples: str) -> Parser:
  """A parser for one command; `examples` ends its help."""
  return Parser(
    prog=f"jaxrl-entropy {command}",
    description=description,
    epilog="examples:\n" + examples,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )


def add_config_flag(command: Parser, required: bool = True) -> None:
  """`--config`; the overrides beside it are read by `parse_with_overrides`."""
  command.add_argument(
    "--config",
    required=required,
    metavar="FILE.py[:ARG]",
    help="config file; --config.FIELD=VALUE changes one field of it",
  )


def add_workdir_flag(command: Parser, help: str) -> None:
  """`--workdir`, a folder that can be written to."""

  def folder(text: str) -> Path:
    try:
      return paths.local_folder(text, "--workdir")
    except UserError as error:
      raise argparse.ArgumentTypeError(str(error)) from error

  command.add_argument("--workdir", required=True, type=folder, help=help)


def parse_with_overrides(
  command: Parser, argv: Sequence[str]
) -> tuple[argparse.Namespace, list[tuple[str, str]]]:
  """The flags, and the `--config.FIELD=VALUE` (or `VALUE`) pairs.

  Raises:
    UserError: for a flag that is neither.
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
