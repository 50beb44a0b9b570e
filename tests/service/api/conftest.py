"""A client of the whole application, over the tiny bundle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.encoding.encoder import Encoder
from service.settings import Settings


@pytest.fixture(scope="module")
def client(encoder: Encoder) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(), encoder)) as client:
        yield client
