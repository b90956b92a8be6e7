"""Names that judges put in front of programs."""

import builtins
import importlib

from jaxrl_entropy.rewards.verifiers import code_names


def provided(source):
  namespace = {}
  code = compile(source, "s", "exec")
  code_names.provide(code, namespace)
  return namespace


def test_every_name_is_where_the_table_says():
  for name, module in code_names._MODULE_OF.items():
    assert hasattr(importlib.import_module(module), name), name


def test_no_built_in_function_is_hidden():
  names = code_names._MODULE_OF.keys() | code_names.MODULES
  assert not names & vars(builtins).keys()


def test_only_names_in_use_are_provided():
  assert provided("x = 1\nprint(pow(x, 2))") == {}
  source = "class A:\n  def f(self, x: List[int]):\n    return lambda: sqrt(x)"
  assert provided(source).keys() == {"List", "sqrt"}


def test_a_program_may_define_the_name_itself():
  namespace = {"gcd": "mine"}
  code_names.provide(compile("gcd", "s", "exec"), namespace)
  assert namespace == {"gcd": "mine"}
