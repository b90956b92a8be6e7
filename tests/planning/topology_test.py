import pytest

from jaxrl_entropy.errors import UserError
from jaxrl_entropy.planning import topology


@pytest.mark.parametrize(
  ("name", "compiler_name", "devices"),
  [
    ("v5e-1", "v5e:1x1", 1),
    ("v5e-8", "v5e:2x4", 8),
    ("v5e-16", "v5e:4x4", 16),
    ("v5litepod-256", "v5e:16x16", 256),
    ("v6e-32", "v6e:4x8", 32),
    ("v4-8", "v4:2x2x1", 4),
    ("v5p-32", "v5p:2x2x4", 16),
    ("v5p-128", "v5p:4x4x4", 64),
    ("v5p-256", "v5p:4x4x8", 128),
    ("v5p-1024", "v5p:8x8x8", 512),
    ("v5p:4x4x12", "v5p:4x4x12", 192),
    ("tpu7x-16", "tpu7x:2x2x2", 16),
  ],
)
def test_names_of_slices(name, compiler_name, devices):
  found = topology.parse(name)
  assert (found.compiler_name, found.devices) == (compiler_name, devices)


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("v5p", "use a name like"),
    ("v5q-16", "did you mean 'v5"),
    ("v5e16", "use a name like v5e-16,"),
    ("v5e:0x4", "use a name like v5e-4,"),
    ("v5e-12", "not the size of a whole slice, the nearest is 8"),
    ("v5p-100", "nearest is 128"),
    ("v5p-7", "not the size of a whole slice"),
    ("v5p-2", "not the size of a whole slice"),
    ("v5e:2x2x2", "v5e has 2 dimensions"),
  ],
)
def test_wrong_names_are_explained(name, message):
  with pytest.raises(UserError, match=message):
    topology.parse(name)
