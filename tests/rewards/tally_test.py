"""Counts of responses that could not be judged."""

from jaxrl_entropy.rewards.tally import Tally


def test_nothing_is_said_before_there_are_failures():
  tally = Tally()
  assert tally.nothing_judged() is None
  tally.add([])
  tally.add([None, None])
  assert tally.nothing_judged() is None
  assert tally.notice() is None


def test_the_first_cause_is_told_in_one_line_until_a_response_is_judged():
  tally = Tally()
  tally.add(["first\n  cause", "second"])
  tally.add(["third"])
  assert tally.nothing_judged() == (
    "none of the first 3 responses could be judged: first cause"
  )
  tally.add([None])
  assert tally.nothing_judged() is None


def test_a_tenth_of_a_call_is_worth_one_notice():
  tally = Tally()
  tally.add([None] * 10 + ["rare"])
  assert tally.notice() is None
  tally.add([None] * 9 + ["often"])
  tally.add(["always"] * 10)
  notice = tally.notice()
  assert notice.startswith("10% of the responses")
  assert "often" in notice
  tally.add(["always"] * 10)
  assert tally.notice() is None
