"""The local stack with the fake model, and with its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.model_server.client import ModelServer
from tests.local.stack import Stack


@pytest.fixture
def stack(tmp_path: Path, model: ModelServer) -> Iterator[Stack]:
    """Not started yet. It asks the fake model."""
    made = Stack(tmp_path, OPENAI_BASE_URL=model.base_url, OPENAI_API_KEY="not-a-secret", MODEL="fake")
    yield made
    made.end()


@pytest.fixture
def keyless_stack(tmp_path: Path) -> Iterator[Stack]:
    """Not started yet. Nothing names a model, so it brings its own."""
    made = Stack(tmp_path)
    yield made
    made.end()
