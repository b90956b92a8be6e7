"""Runs a model's program inside the sandbox.

The program shares this process and can read or change all of it. So nothing in
here decides whether an answer is right, and no expected value ever comes in.
"""

import builtins
import sys

from jaxrl_entropy.rewards.sandbox.confine import confine
from jaxrl_entropy.rewards.verifiers.code_names import provide

RECURSION_LIMIT = 50_000  # as judges set it


def main(request: dict) -> None:
  """Lets the program read standard input and print.

  Args:
    request: the program's `source`, and what `prepare` reads.
  """
  execute(request["source"], prepare(request, "__main__"))


def prepare(request: dict, name: str) -> dict:
  """Confines this process and returns the namespace of a new module.

  The module has the names that the request's prelude defines.

  Args:
    request: what `confine` reads, the `hidden_folder` that leaves the import
      path, and the `prelude`.
    name: of the module; "__main__" lets programs run their main part.
  """
  # The program may import the standard library and the listed packages alone.
  sys.path[:] = [f for f in sys.path if f != request["hidden_folder"]]
  sys.argv = ["solution.py"]
  sys.setrecursionlimit(RECURSION_LIMIT)
  sys.set_int_max_str_digits(0)  # limits of time and output are enough
  # Python defines these in its module `site`, which the sandbox does not load.
  vars(builtins).update(exit=sys.exit, quit=sys.exit)
  confine(request)
  module = sys.modules[name] = type(sys)(name)
  execute(request["prelude"], module.__dict__)
  return module.__dict__


def execute(source: str, namespace: dict) -> None:
  """Runs a program in `namespace`, with the names that judges provide.

  Args:
    source: text of the program.
    namespace: globals of the program, changed in place.
  """
  code = compile(source, "solution.py", "exec", dont_inherit=True)
  provide(code, namespace)
  exec(code, namespace)
