"""Alarms on records of known faults; healthy records raise none."""

import pytest

from jaxrl_entropy.training import alarms

HEALTHY = {
  "entropy/token_mean": 0.5,
  "entropy/filtered": 0.5,
  "reward/accuracy": 0.4,
  "reward/mean": 0.4,
  "groups/informative": 0.7,
  "response/truncated": 0.01,
  "sampler/mismatch_kl": 0.001,
  "grad_norm": 1.0,
  "throughput/sample_s": 6.0,
  "throughput/update_s": 4.0,
  "throughput/tokens_per_s": 1e4,
}


def records(count=20, **changes):
  """Records with metrics that are numbers or functions of the step."""
  metrics = HEALTHY | {k.replace("__", "/"): v for k, v in changes.items()}
  return [
    {"step": s} | {k: v(s) if callable(v) else v for k, v in metrics.items()}
    for s in range(count)
  ]


def raised(**changes):
  return {alarm.name: alarm for alarm in alarms.check(records(**changes))}


def test_a_healthy_run_raises_none():
  assert raised() == {}


@pytest.mark.parametrize(
  ("name", "changes", "words"),
  [
    (
      "entropy_falls_fast",
      {"entropy__token_mean": lambda s: 0.5 * 0.9**s},
      "clip_high",
    ),
    (
      "entropy_rises_fast",
      {"entropy__token_mean": lambda s: 0.5 * 1.05**s},
      "learning_rate",
    ),
    ("rewards_saturated", {"reward__accuracy": 1.0}, "harder"),
    (
      "rewards_saturated",
      {"reward__accuracy": 0.0, "reward__mean": 0.0},
      "easier",
    ),
    ("groups_uninformative", {"groups__informative": 0.1}, "group_size"),
    (
      "responses_truncated",
      {"response__truncated": 0.3},
      "max_response_length",
    ),
    ("sampler_mismatch", {"sampler__mismatch_kl": -0.1}, "weight_dtype"),
    (
      "gradient_spike",
      {"grad_norm": lambda s: 50.0 if s == 19 else 1.0},
      "grad_clip",
    ),
    ("phase_dominates", {"throughput__verify_s": 50.0}, "reward.workers"),
    ("phase_dominates", {"throughput__evaluate_s": 50.0}, "eval.every"),
  ],
)
def test_a_fault_raises_its_alarm_alone_with_a_setting(name, changes, words):
  found = raised(**changes)
  assert list(found) == [name]
  assert words in found[name].setting


@pytest.mark.parametrize(
  ("covariance", "words"),
  [
    ({}, "the covariance was not recorded"),
    ({"cov__likely_rewarded": -0.1}, "no part of the covariance has that sign"),
  ],
)
def test_a_fall_without_covariance_says_what_is_missing(covariance, words):
  found = raised(entropy__token_mean=lambda s: 0.5 * 0.9**s, **covariance)
  assert words in found["entropy_falls_fast"].message


def test_the_evaluation_after_the_last_update_raises_none():
  *steps, last = records()
  del last["grad_norm"]
  last["throughput/evaluate_s"] = 500.0
  assert alarms.check([*steps, last]) == []


def test_the_cause_of_a_fall_is_the_largest_part_of_the_covariance():
  found = raised(
    entropy__token_mean=lambda s: 0.5 * 0.9**s,
    cov__likely_rewarded=0.3,
    cov__unlikely_punished=0.1,
    cov__likely_punished=-0.2,
    cov__unlikely_rewarded=-0.05,
  )
  message = found["entropy_falls_fast"].message
  assert (
    "75% of the covariance by which it falls is of likely tokens" in message
  )


def test_the_cause_of_a_rise_is_a_negative_part():
  found = raised(
    entropy__token_mean=lambda s: 0.5 * 1.05**s,
    cov__likely_rewarded=0.3,
    cov__unlikely_punished=0.1,
    cov__likely_punished=-0.6,
    cov__unlikely_rewarded=-0.2,
  )
  message = found["entropy_rises_fast"].message
  assert "75% of the covariance by which it rises" in message
  assert "likely tokens of negative advantage" in message


def test_graded_rewards_that_vary_are_not_saturated():
  graded = {"reward__accuracy": 0.0, "reward__mean": lambda s: 0.3 + s / 100}
  assert raised(**graded) == {}


def test_few_records_say_nothing():
  faulty = records(count=alarms.MIN_RECORDS - 1, reward__accuracy=1.0)
  assert alarms.check(faulty) == []
  assert alarms.check([]) == []


def test_only_the_latest_records_count():
  early = records(count=40, reward__accuracy=lambda s: 1.0 if s < 20 else 0.5)
  assert alarms.check(early) == []


def test_missing_and_infinite_values_are_left_out():
  found = raised(grad_norm=None, groups__informative=float("nan"))
  assert found == {}


def test_steps_without_an_update_are_reported_at_once():
  idle = records(count=3)
  for record in idle:
    del record["entropy/filtered"]
  (alarm,) = alarms.check(idle[:1])
  assert alarm.name == "no_updates"
  assert "1 of the last 1 steps made no update" in alarm.message
  assert "group_filter" in alarm.setting
  # One such step among many is what a filter is for.
  assert alarms.check(records(count=17) + idle) == []
