"""Verifiers of a user's own that can judge no response."""

from jaxrl_entropy.data.tasks.countdown import Countdown


def wrong_arity(problem):
  return 1.0


def raises(problem, response):
  raise KeyError("gold")


def returns_text(problem, response):
  return "good"


def task(name):
  """Countdown problems, judged by a verifier of this module."""
  countdown = Countdown()
  countdown.verifier = f"{__name__}:{name}"
  return countdown
