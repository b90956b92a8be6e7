"""Terms of a reward besides the verifiers': form and length of a response."""

from collections.abc import Callable
import re

from jaxrl_entropy.data.tasks.boxed import last_boxed
from jaxrl_entropy.errors import UserError, nearest
from jaxrl_entropy.rewards.verifiers.extract import last_code_block, last_tagged

Shape = Callable[[str, int], dict[str, float]]
"""(response, its tokens) -> terms to add to its reward, by name."""

_THINKING = re.compile(r"\s*<think>(?:(?!</?think>).)*</think>\s*\S", re.DOTALL)

FORMATS: dict[str, Callable[[str], bool]] = {
  "boxed": lambda text: last_boxed(text) is not None,
  "code": lambda text: last_code_block(text) is not None,
  "tagged": lambda text: last_tagged(text) is not None,
  # One thinking part in front, and something after it.
  "think": lambda text: (
    _THINKING.match(text) is not None and text.count("<think>") == 1
  ),
}


def shaping(
  form: str = "",
  bonus: float = 0.0,
  overlong_buffer: int = 0,
  overlong_penalty: float = 1.0,
  *,
  max_length: int,
) -> Shape:
  """Returns the function that shapes the reward of a response.

  Its terms are `format`, the bonus for a form, whether the response is right or
  wrong; and `overlong`, DAPO's soft overlong punishment (Yu et al. 2025,
  arXiv 2503.14476, equation 13): it falls linearly from 0, at
  `overlong_buffer` tokens before the length limit, to `-overlong_penalty` at
  the limit. A term that is turned off is left out.

  Args:
    form: a name in `FORMATS`; "" for no bonus.
    bonus: of a response that has the form.
    overlong_buffer: tokens; 0 for no penalty.
    overlong_penalty: at the length limit.
    max_length: length limit of responses, in tokens.

  Raises:
    UserError: there is no such form.
  """
  if form and form not in FORMATS:
    raise UserError(f"reward.format is {form!r}: {nearest(form, FORMATS)}")

  def shape(response: str, tokens: int) -> dict[str, float]:
    terms = {}
    if form:
      terms["format"] = bonus * FORMATS[form](response)
    if overlong_buffer:
      over = (tokens - (max_length - overlong_buffer)) / overlong_buffer
      terms["overlong"] = -overlong_penalty * min(max(over, 0.0), 1.0)
    return terms

  return shape
