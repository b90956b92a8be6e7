"""The public names of the package."""

import subprocess
import sys

import pytest

import jaxrl_entropy as jrl


def test_importing_the_package_loads_no_jax():
  code = "import sys, jaxrl_entropy; sys.exit('jax' in sys.modules)"
  assert subprocess.run((sys.executable, "-c", code)).returncode == 0


@pytest.mark.parametrize("name", jrl.__all__)
def test_every_public_name_is_there_and_explained(name):
  value = getattr(jrl, name)
  assert name == "__version__" or value.__doc__


def test_an_unknown_name_is_an_attribute_error():
  with pytest.raises(AttributeError, match="has no attribute 'loses'"):
    _ = jrl.loses


def test_a_complete_loss_is_looked_for_among_the_objectives():
  with pytest.raises(AttributeError, match=r"see objectives\.kl_cov"):
    _ = jrl.losses.kl_cov
