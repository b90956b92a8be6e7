"""The type checker of the tests: shapes and dtypes of every annotated call."""

import beartype

checked = beartype.beartype(
  conf=beartype.BeartypeConf(is_pep484_tower=True)  # an int is a float
)
