"""Accuracy of a policy on a fixed set of problems."""

from jaxrl_entropy.evaluation.responses import (
  Evaluation,
  Generate,
  evaluate,
  generator,
)
from jaxrl_entropy.evaluation.summary import majority, pass_at_k, summarize
