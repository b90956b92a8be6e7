"""What a sampler can be asked for: each refusal says by how much it fails."""

from collections.abc import Sequence
import dataclasses

import numpy as np

from jaxrl_entropy.sampling.request import Request

MAX_STOP_IDS = 8


@dataclasses.dataclass(frozen=True)
class Limits:
  """The sizes that a request must fit.

  Attributes:
    max_prompt_length: tokens of the longest prompt.
    max_length: tokens of the longest prompt with its continuation.
    vocabulary: token ids are below this.
    page_size: tokens that a page of the cache holds.
    pages: for sequences, in each part of the mesh's data axes.
    parts: of the data axes.
    decodes: whether there is a `decode_text`.
  """

  max_prompt_length: int
  max_length: int
  vocabulary: int
  page_size: int
  pages: int
  parts: int
  decodes: bool

  def check(self, request: Request, name: str) -> None:
    """Raises ValueError for what could never run, calling it `name`."""
    complaint = (
      self._length(request)
      or self._ids("prompt", request.prompt)
      or self._ids("stop_ids", request.stop_ids)
      or self._stops(request)
      or self._memory(request)
    )
    if complaint:
      raise ValueError(f"{name} {complaint}")

  def _length(self, request: Request) -> str | None:
    prompt, most = len(request.prompt), max(request.limits)
    if prompt > self.max_prompt_length:
      return (
        f"has a prompt of {prompt} tokens and the sampler's max_prompt_length "
        f"is {self.max_prompt_length}"
      )
    if prompt + most > self.max_length:
      return (
        f"is too long: {prompt} prompt tokens + {most} max_tokens = "
        f"{prompt + most}, above the sampler's max_length of {self.max_length}"
      )
    return None

  def _ids(self, field: str, ids: Sequence[int] | np.ndarray) -> str | None:
    ids = np.asarray(ids)
    strange = ids[(ids < 0) | (ids >= self.vocabulary)]
    if not strange.size:
      return None
    return (
      f"has the token id {strange[0]} in its {field}, and the model's "
      f"vocabulary has ids from 0 to {self.vocabulary - 1}"
    )

  def _stops(self, request: Request) -> str | None:
    if len(request.stop_ids) > MAX_STOP_IDS:
      return f"has {len(request.stop_ids)} stop_ids; at most {MAX_STOP_IDS}"
    if request.stop_strings and not self.decodes:
      return (
        "has stop_strings, which need a sampler with decode_text, a function "
        "from token ids to text"
      )
    return None

  def _memory(self, request: Request) -> str | None:
    prompt, most = len(request.prompt), max(request.limits)
    # Continuations copy the page that the prompt fills in part.
    copy = int(request.n > 1 and (prompt - 1) % self.page_size > 0)
    need = -(-(prompt + most - 1) // self.page_size) + copy
    if need <= self.pages:
      return None
    shared = " + 1 to share the prompt" if copy else ""
    return (
      f"can never fit: ({prompt} prompt tokens + {most} max_tokens - 1) / "
      f"{self.page_size} tokens a page{shared} = {need} pages, and the cache "
      f"has {self.pages} for each of the mesh's {self.parts} parts; raise "
      f"kv_tokens to at least {need * self.page_size * self.parts}"
    )
