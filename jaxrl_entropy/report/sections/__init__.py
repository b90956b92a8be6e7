"""One module per section of a report.

Each has a function from a study to a `Section`, or to an `Absent` that says why
the study has none.
"""
