"""Verifiers by name: where they are, and in which process they may run."""

from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import find_spec

from jaxrl_entropy import registry
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.errors import UserError, install_extra, nearest

# Exact comparisons that parse nothing: they run in this process.
INLINE = {
  "countdown": "jaxrl_entropy.data.tasks.countdown:verify",
  "exact": "jaxrl_entropy.rewards.verifiers.exact:verify",
  "tagged": "jaxrl_entropy.rewards.verifiers.exact:verify_tagged",
  "integer": "jaxrl_entropy.rewards.verifiers.integer:verify",
  "last_integer": "jaxrl_entropy.rewards.verifiers.integer:verify_last",
}
# Verifiers that parse the response, and so run in the sandbox.
SANDBOXED = {
  "math": "jaxrl_entropy.rewards.verifiers.maths.symbolic:verify",
  "math_equal": "jaxrl_entropy.rewards.verifiers.maths.symbolic:verify_equal",
  "math_verify": "jaxrl_entropy.rewards.verifiers.math_library:verify",
  "gym": "jaxrl_entropy.rewards.verifiers.gym:verify",
  "program": "jaxrl_entropy.data.tasks.programs:verify",
}
# Functions that decide, without parsing, on most responses; else they return
# None, and the sandboxed verifier decides.
FIRST = {
  "math": "jaxrl_entropy.rewards.verifiers.math_answer:decide",
  "math_equal": "jaxrl_entropy.rewards.verifiers.math_answer:decide_equal",
}
# Responses that one process may verify. A verifier that evaluates nothing, or
# nothing that could reach beyond its own result, may see many.
REUSE = {
  SANDBOXED[name]: 200
  for name in ("math", "math_equal", "math_verify", "program")
}
# The package that a verifier needs, and the extra that installs it.
_PACKAGES = dict.fromkeys(
  ("math", "math_equal", "math_verify"), ("math_verify", "math")
) | {"gym": ("reasoning_gym", "gym")}
PROGRAM = "code"  # runs the response itself
JUDGE = "judge"  # asks a model behind an endpoint


def check_names(verifiers: Iterable[str]) -> None:
  """Checks that verifiers exist, as far as that shows without importing them.

  Args:
    verifiers: names, or import paths such as `my_lab.rewards:mine`.

  Raises:
    UserError: one of them is neither a known name nor an import path.
  """
  known = (*INLINE, *SANDBOXED, PROGRAM, JUDGE)
  for name in verifiers:
    if name not in known and ":" not in name:
      raise UserError(
        f"there is no verifier {name!r}, nor is this an import path such as "
        f"my_lab.rewards:mine; {nearest(name, known)}"
      )


def check_package(verifier: str) -> None:
  """Checks that the package is installed that a verifier needs.

  Raises:
    UserError: it is not.
  """
  package, extra = _PACKAGES.get(verifier, ("", ""))
  if package and find_spec(package) is None:
    raise UserError(
      f"the verifier {verifier!r} needs {package}: {install_extra(extra)}"
    )


def here(name: str) -> Callable[..., float | None] | None:
  """Returns the function that may judge in this process, if there is one.

  Args:
    name: of a verifier.

  Returns:
    A function of problem and response; it returns None where it cannot tell and
    a sandboxed verifier must.
  """
  path = INLINE.get(name) or FIRST.get(name)
  return _load(path) if path else None


@cache
def _load(path: str) -> Callable[[Problem, str], float | None]:
  return registry.load("verifier", path, INLINE)
