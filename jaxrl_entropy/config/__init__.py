"""Configuration: defaults, config files, validation, recipes and sweeps."""

from jaxrl_entropy.config.defaults import get_config
from jaxrl_entropy.config.files import (
  FILE,
  call,
  check_same,
  commit,
  flatten,
  load,
  load as load_config,
  load_module,
  of_run,
  read,
  save,
  to_json,
  versions,
)
from jaxrl_entropy.config.validate import finalize, override, warn_if_idle
