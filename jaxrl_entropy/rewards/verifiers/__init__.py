"""Verifiers: functions of a problem and a response."""
