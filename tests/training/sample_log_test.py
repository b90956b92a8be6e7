import dataclasses
import json

import numpy as np

from jaxrl_entropy.analysis import samples
from jaxrl_entropy.data.tokenizers import SymbolTokenizer
from jaxrl_entropy.training import sample_log
from jaxrl_entropy.training.rollout_metrics import token_covariance
from jaxrl_entropy.training.step_file import StepFile
from tests.training.rollouts import make_rollout

TOKENIZER = SymbolTokenizer(["a", "b", "c", "d", "e"])


def test_records_are_what_the_analysis_reads(tmp_path):
  rollout = make_rollout()
  records = sample_log.describe(rollout, TOKENIZER, 20)
  StepFile(tmp_path / "samples.jsonl").append(records)
  loaded, notes = samples.load(tmp_path)
  assert notes == ()
  assert [s.reward for s in loaded] == [1.0, 0.0, 1.0, 1.0]
  first = loaded[0]
  assert (first.step, first.problem, first.prompt) == (20, "p", "a b")
  assert list(first.tokens) == ["a", " b", " c"]
  logp = rollout.signals["old_logp"][0, :3]
  np.testing.assert_allclose(first.logp, logp, atol=1e-4)
  covariance = token_covariance(rollout)[:3]
  np.testing.assert_allclose(first.covariance, covariance, atol=1e-4)


def test_a_stop_token_is_visible():
  rollout = make_rollout()
  rollout.responses[0] = np.array([2, 3, 1], np.int32)
  tokens = sample_log.describe(rollout, TOKENIZER, 0)[0]["tokens"]
  assert tokens == ["a", " b", "<end>"]


def test_the_rules_are_those_of_the_loss():
  rollout = make_rollout()
  args = {"fraction": 0.3, "cov_low": 0.1, "cov_high": 9.0}
  records = sample_log.describe(rollout, TOKENIZER, 0, args)
  rules = list(records[0]["selected"])
  assert rules == [
    *("top 0.3 of covariance", "covariance from 0.1 to 9"),
    "top 0.2 of entropy",
  ]
  chosen = np.concatenate([r["selected"][rules[0]] for r in records])
  covariance = np.concatenate([r["covariance"] for r in records])
  assert chosen.sum() == 3
  assert covariance[chosen == 1].min() > covariance[chosen == 0].max()


def test_problems_with_unequal_rewards_come_first():
  rollout = dataclasses.replace(
    make_rollout(), rewards=np.array([1, 1, 0, 1], np.float32)
  )
  records = sample_log.describe(rollout, TOKENIZER, 0)
  assert [record["reward"] for record in records] == [0.0, 1.0, 1.0, 1.0]
  assert json.dumps(records)
