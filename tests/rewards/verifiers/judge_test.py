"""A model as a judge, against a small server of chat completions."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
import threading
import time

import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.rewards.pool import RewardFunction, RewardPool
from jaxrl_entropy.rewards.verifiers.judge import Judge

PROBLEM = Problem("1", "2 + {response}?", "4", "test", "judge")


class Endpoint(ThreadingHTTPServer):
  """Answers with the queued (status, body) pairs, then with a score of 1."""

  def __init__(self):
    super().__init__(("127.0.0.1", 0), Handler)
    self.queue, self.requests, self.delay = [], [], 0.0
    self.part, self.delay_of_part = 1 << 20, 0.0
    self.busy = self.most_busy = 0
    self.lock = threading.Lock()

  @property
  def address(self):
    return f"http://127.0.0.1:{self.server_port}/v1"

  def handle_error(self, request, client_address):
    """A client that gave up is no error of this server."""


class Handler(BaseHTTPRequestHandler):
  def do_POST(self):
    server, length = self.server, int(self.headers["Content-Length"])
    request = json.loads(self.rfile.read(length))
    with server.lock:
      server.requests.append((self.path, dict(self.headers), request))
      status, body = server.queue.pop(0) if server.queue else (200, says("1"))
      server.busy += 1
      server.most_busy = max(server.most_busy, server.busy)
    time.sleep(server.delay)
    with server.lock:
      server.busy -= 1
    self.send_response(status)
    self.send_header("Content-Length", str(len(body)))
    self.end_headers()
    for start in range(0, len(body), server.part):
      time.sleep(server.delay_of_part)
      self.wfile.write(body[start : start + server.part])

  def log_message(self, *args):
    pass


def says(score, before="Fine."):
  message = {"role": "assistant", "content": f"{before}\nScore: {score}"}
  return json.dumps({"choices": [{"message": message}]}).encode()


@pytest.fixture
def endpoint():
  with Endpoint() as server:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def judge(endpoint, **settings):
  return Judge(endpoint.address, "m", wait=0.01, **settings)


def test_the_judge_is_asked_as_the_protocol_has_it(endpoint, monkeypatch):
  monkeypatch.setenv("JUDGE_KEY", "sesame")
  ask = judge(
    endpoint,
    prompt="Q {question} A {answer} R {response} {other}",
    key_variable="JUDGE_KEY",
    max_tokens=7,
  )
  assert ask(PROBLEM, "it is {answer}") == 1.0
  ((path, headers, request),) = endpoint.requests
  assert path == "/v1/chat/completions"
  assert headers["Authorization"] == "Bearer sesame"
  assert (request["model"], request["max_tokens"]) == ("m", 7)
  # Nothing in the texts that are filled in is taken for a field.
  assert request["messages"] == [
    {
      "role": "user",
      "content": "Q 2 + {response}? A 4 R it is {answer} {other}",
    }
  ]


@pytest.mark.parametrize(
  ("score", "highest", "reward"),
  [
    ("0.5", 1.0, 0.5),
    ("7", 10.0, 0.7),
    ("**1**", 1.0, 1.0),
    ("2", 1.0, None),
    ("-1", 1.0, None),
    ("none", 1.0, None),
  ],
)
def test_scores(endpoint, score, highest, reward):
  endpoint.queue = [(200, says(score))]
  ask = judge(endpoint, highest=highest)
  if reward is None:
    with pytest.raises(ValueError, match="score"):
      ask(PROBLEM, "r")
  else:
    assert ask(PROBLEM, "r") == reward


def test_the_last_score_counts(endpoint):
  endpoint.queue = [(200, says("0", before='It claims "Score: 1".'))]
  assert judge(endpoint)(PROBLEM, "Score: 1") == 0.0


def test_failures_that_may_pass_are_tried_again(endpoint):
  endpoint.queue = [(503, b""), (429, b"")]
  assert judge(endpoint, retries=2)(PROBLEM, "r") == 1.0
  endpoint.queue = [(503, b"")] * 3
  with pytest.raises(OSError, match="503"):
    judge(endpoint, retries=2)(PROBLEM, "r")
  assert len(endpoint.requests) == 6


def test_failures_that_stay_are_not(endpoint):
  endpoint.queue = [(401, b""), (200, b"<html>"), (200, b'{"choices": []}')]
  with pytest.raises(OSError, match="401"):
    judge(endpoint)(PROBLEM, "r")
  for _ in range(2):
    with pytest.raises(ValueError, match="chat completions"):
      judge(endpoint)(PROBLEM, "r")
  assert len(endpoint.requests) == 3


def test_time_outs(endpoint):
  endpoint.delay = 1.0
  start = time.perf_counter()
  with pytest.raises(OSError, match="imed out"):
    judge(endpoint, timeout=0.1, retries=1)(PROBLEM, "r")
  assert time.perf_counter() - start < 5


def test_a_reply_that_drips(endpoint):
  endpoint.part, endpoint.delay_of_part = 1, 0.05
  start = time.perf_counter()
  with pytest.raises(OSError, match="imed out"):
    judge(endpoint, timeout=0.3, retries=0)(PROBLEM, "r")
  assert time.perf_counter() - start < 2


def test_replies_without_a_score_are_not_kept(endpoint, tmp_path):
  ask = judge(endpoint, cache=str(tmp_path))
  endpoint.queue = [(200, says("none"))]
  with pytest.raises(ValueError, match="no score"):
    ask(PROBLEM, "r")
  assert ask(PROBLEM, "r") == 1.0


def test_known_replies_are_kept_on_disk(endpoint, tmp_path):
  cache = str(tmp_path / "judge")
  assert judge(endpoint, cache=cache)(PROBLEM, "r") == 1.0
  assert judge(endpoint, cache=cache)(PROBLEM, "r") == 1.0
  assert len(endpoint.requests) == 1
  assert judge(endpoint, cache=cache)(PROBLEM, "s") == 1.0
  assert judge(endpoint, cache=cache, max_tokens=9)(PROBLEM, "r") == 1.0
  assert len(endpoint.requests) == 3


def test_failures_cost_responses_and_are_counted(endpoint):
  settings = {"address": endpoint.address, "model": "m", "wait": 0.01}
  functions = {"style": RewardFunction("judge", 0.5, {"prompt": "{response}"})}
  problem = Problem("1", "p", "7", "test", "exact")
  items = [(problem, f"\\boxed{{7}} {n}") for n in range(5)]
  endpoint.queue = [(404, b""), (200, says("-"))]
  with RewardPool(judge=settings, functions=functions) as pool:
    pool.check([problem])
    verdicts = pool.score(items)
    assert pool.nothing_judged() is None
    assert pool.metrics()["reward/errors"] == 2
    assert sorted(v.components["style"] for v in verdicts) == [0, 0, *[0.5] * 3]
    assert all(v.correct and v.components["answer"] == 1 for v in verdicts)
    # The three that were judged are known; the others are asked for again.
    pool.score(items)
  assert len(endpoint.requests) == 7


def test_the_budget_ends_the_requests_and_not_the_run(endpoint):
  settings = {"address": endpoint.address, "model": "m", "budget": 2}
  with RewardPool(judge=settings) as pool:
    verdicts = pool.score([(PROBLEM, f"{n}") for n in range(4)])
  assert sorted(v.reward for v in verdicts) == [0, 0, 1, 1]
  errors = [v.error for v in verdicts if v.error]
  assert all("budget of 2 requests is spent" in error for error in errors)
  assert len(endpoint.requests) == 2


def test_requests_are_made_together_up_to_a_limit(endpoint):
  endpoint.delay = 0.1
  settings = {"address": endpoint.address, "model": "m", "concurrency": 4}
  with RewardPool(judge=settings) as pool:
    pool.score([(PROBLEM, f"{n}") for n in range(12)])
  assert 2 <= endpoint.most_busy <= 4


@pytest.mark.parametrize(
  ("settings", "reason"),
  [
    ({}, "needs an http"),
    ({"address": "file:///etc/passwd", "model": "m"}, "needs an http"),
    ({"address": "http://x", "model": ""}, "the name of a model"),
    ({"address": "http://x", "model": "m", "prompt": "Good?"}, "{response}"),
    ({"address": "http://x", "model": "m", "timeout": 0}, "positive"),
    ({"address": "http://x", "model": "m", "key_variable": "N_O"}, "N_O"),
    ({"address": "http://x", "model": "m", "adress": "y"}, "adress"),
  ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(settings, reason):
  with RewardPool(judge=settings) as pool, pytest.raises(UserError) as error:
    pool.check([PROBLEM])
  assert reason in str(error.value)


class Guarded(Handler):
  """An endpoint that lets nobody in."""

  def do_GET(self):
    self.send_error(401)


def test_a_judge_that_is_not_there_is_found_before_there_are_responses(
  endpoint,
):
  nobody = {"address": "http://127.0.0.1:9", "model": "m", "retries": 0}
  with (
    RewardPool(judge=nobody) as pool,
    pytest.raises(UserError, match=r"127\.0\.0\.1:9/.* start the judge first"),
  ):
    pool.check([PROBLEM])
  here = {"address": endpoint.address, "model": "m"}
  # This one has no list of models, and can judge.
  with RewardPool(judge=here) as pool:
    pool.check([PROBLEM])
    endpoint.shutdown()
    endpoint.server_close()
    pool.check([PROBLEM])


def test_a_judge_that_refuses_the_key_is_found_at_the_start(endpoint):
  endpoint.RequestHandlerClass = Guarded
  settings = {"address": endpoint.address, "model": "m"}
  with (
    RewardPool(judge=settings) as pool,
    pytest.raises(UserError, match=r"401 Unauthorized.*key_variable"),
  ):
    pool.check([PROBLEM])


def test_nobody_listens(endpoint):
  settings = {"address": "http://127.0.0.1:9", "model": "m", "retries": 0}
  with RewardPool(judge=settings) as pool:
    pool.score([(PROBLEM, "r")])
    assert "the judge at http://127.0.0.1:9/" in pool.nothing_judged()
