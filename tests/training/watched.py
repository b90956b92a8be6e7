"""`jaxrl-entropy`, which tells in a file what it is doing at the moment."""

from collections.abc import Callable
import functools
import os
from pathlib import Path
import sys
from typing import Any

from jaxrl_entropy.cli import main
from jaxrl_entropy.training import loop
from jaxrl_entropy.training.collector import Collector
from jaxrl_entropy.training.learner import Learner

VARIABLE = "WATCHED_FILE"
CALLS = {
  "evaluating": (loop, "evaluate_policy"),
  "sampling": (Collector, "collect"),
  "training": (Learner, "update"),
}


def told(moment: str, function: Callable[..., Any], file: Path) -> Any:
  """`function`, with `moment` in `file` while it runs."""

  @functools.wraps(function)
  def call(*args: Any, **kwargs: Any) -> Any:
    file.write_text(moment)
    try:
      return function(*args, **kwargs)
    finally:
      file.write_text("")

  return call


if __name__ == "__main__":
  for moment, (owner, name) in CALLS.items():
    watched = told(moment, getattr(owner, name), Path(os.environ[VARIABLE]))
    setattr(owner, name, watched)
  sys.exit(main.main())
