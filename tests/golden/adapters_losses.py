"""Peer functions on losses, in our terms."""

from tests.golden.harness import Adapter

ADAPTERS: dict[str, Adapter] = {}
