import pytest

from jaxrl_entropy import registry
from jaxrl_entropy.errors import UserError

KNOWN = {"double": lambda x: 2 * x, "tail": "posixpath:basename"}


def scaled(x, factor=1.0):
  return x * factor


@pytest.mark.parametrize(
  ("name", "args", "result"),
  [
    ("double", {"x": 3}, 6),
    ("tail", {"p": "a/b"}, "b"),
    ("tests.registry_test:scaled", {"x": 2.0, "factor": 1.5}, 3.0),
  ],
)
def test_a_name_or_an_import_path_is_called(name, args, result):
  assert registry.call("thing", name, args, KNOWN) == result


@pytest.mark.parametrize(
  ("name", "args", "message"),
  [
    ("dubble", {}, "unknown thing 'dubble': did you mean 'double'"),
    ("tests.registry_test:nothing", {}, "cannot load thing"),
    ("no_such_lab:mine", {}, "cannot load thing"),
    ("double", {"x": 1, "y": 1}, "does not take these args.*'y'"),
    ("tests.registry_test:scaled", {}, r"scaled\(x, factor=1\.0\)"),
  ],
)
def test_mistakes_are_named(name, args, message):
  with pytest.raises(UserError, match=message):
    registry.call("thing", name, args, KNOWN)


def test_arguments_that_are_handed_on_are_checked_too():
  known = {"outer": lambda **options: scaled(1.0, **options)}
  with pytest.raises(UserError, match=r"these args.*'facto'"):
    registry.call("thing", "outer", {"facto": 2.0}, known)


def test_a_value_that_a_factory_refuses_is_reported_under_its_name():
  def refuses(x):
    raise ValueError(f"x is {x}; it must be in [0, 1]")

  with pytest.raises(UserError, match="thing 'picky': x is 2; it must be in"):
    registry.call("thing", "picky", {"x": 2}, {"picky": refuses})


def test_the_arguments_of_a_message_have_no_types():
  def typed(x: dict[str, tuple[int, ...]], y: float = 2.0) -> None: ...

  with pytest.raises(UserError, match=r"typed\(x, y=2\.0\)$"):
    registry.call("thing", "typed", {"z": 1}, {"typed": typed})
