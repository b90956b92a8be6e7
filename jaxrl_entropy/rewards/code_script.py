"""Runs a model's program inside the sandbox.

Nothing in here decides whether an answer is right, and no expected value ever
comes in: the program shares this process and could read or change all of it.
"""

import sys

from jaxrl_entropy.rewards.confine import confine


def main(request: dict) -> None:
  """Lets the program read standard input and print."""
  define(request, "__main__")


def define(request: dict, name: str) -> dict:
  """Confines this process, then runs the program as a module of this name.

  Returns the names it defined.
  """
  # It may import the standard library and nothing else.
  sys.path.remove(request["path"][0])
  sys.argv = ["solution.py"]
  confine(request)
  module = sys.modules[name] = type(sys)(name)
  exec(compile(request["source"], "solution.py", "exec"), module.__dict__)
  return module.__dict__
