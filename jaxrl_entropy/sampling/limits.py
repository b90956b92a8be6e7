"""Checks that a request fits the sampler; errors say by how much it fails."""

from collections.abc import Sequence
import dataclasses

import numpy as np

from jaxrl_entropy.sampling.request import Request

MAX_STOP_IDS = 8


@dataclasses.dataclass(frozen=True)
class Limits:
  """Sizes that every request must fit.

  Attributes:
    max_prompt_length: tokens of the longest prompt.
    max_length: tokens of the longest prompt with its continuation.
    vocab_size: token ids are below this.
    page_size: tokens per page of the cache.
    pages: pages for sequences in each shard of the mesh's data axes.
    shards: number of shards of the data axes.
    has_decode_text: whether the sampler can search for stop strings.
  """

  max_prompt_length: int
  max_length: int
  vocab_size: int
  page_size: int
  pages: int
  shards: int
  has_decode_text: bool

  def check(self, request: Request, name: str) -> None:
    """Checks that a request can run at all.

    Args:
      request: the request.
      name: what the error calls it, such as "request 3".

    Raises:
      ValueError: if it can never run; says which field fails and by how much.
    """
    complaint = (
      self._check_length(request)
      or self._check_ids("prompt", request.prompt)
      or self._check_ids("stop_ids", request.stop_ids)
      or self._check_stops(request)
      or self._check_memory(request)
    )
    if complaint:
      raise ValueError(f"{name} {complaint}")

  def _check_length(self, request: Request) -> str | None:
    prompt, longest = len(request.prompt), max(request.limits)
    if prompt > self.max_prompt_length:
      return (
        f"has a prompt of {prompt} tokens and the sampler's max_prompt_length "
        f"is {self.max_prompt_length}"
      )
    if prompt + longest > self.max_length:
      return (
        f"is too long: {prompt} prompt tokens + {longest} max_tokens = "
        f"{prompt + longest}, above the sampler's max_length of "
        f"{self.max_length}"
      )
    return None

  def _check_ids(
    self, field: str, ids: Sequence[int] | np.ndarray
  ) -> str | None:
    ids = np.asarray(ids)
    invalid = ids[(ids < 0) | (ids >= self.vocab_size)]
    if not invalid.size:
      return None
    return (
      f"has the token id {invalid[0]} in its {field}, and the model's "
      f"vocabulary has ids from 0 to {self.vocab_size - 1}"
    )

  def _check_stops(self, request: Request) -> str | None:
    if len(request.stop_ids) > MAX_STOP_IDS:
      return f"has {len(request.stop_ids)} stop_ids; at most {MAX_STOP_IDS}"
    if request.stop_strings and not self.has_decode_text:
      return (
        "has stop_strings, which need a sampler with decode_text, a function "
        "from token ids to text"
      )
    return None

  def _check_memory(self, request: Request) -> str | None:
    prompt, longest = len(request.prompt), max(request.limits)
    # Continuations copy the page that the prompt fills only in part.
    copy = int(request.n > 1 and (prompt - 1) % self.page_size > 0)
    need = -(-(prompt + longest - 1) // self.page_size) + copy
    if need <= self.pages:
      return None
    shared = " + 1 to share the prompt" if copy else ""
    return (
      f"can never fit: ({prompt} prompt tokens + {longest} max_tokens - 1) / "
      f"{self.page_size} tokens per page{shared} = {need} pages, and the cache "
      f"has {self.pages} for each of the mesh's {self.shards} shards; raise "
      f"kv_tokens to at least {need * self.page_size * self.shards}"
    )
