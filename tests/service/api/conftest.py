"""A client of the whole application, over the tiny bundle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.encoding.encoder import Encoder
from service.settings import Settings
from tests.tiny_bundle import DIMENSION, write_tiny_bundle


@pytest.fixture(scope="module")
def client(encoder: Encoder) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(), encoder)) as client:
        yield client


@pytest.fixture(scope="module")
def cut_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client over the tiny bundle that may be cut to 3 or 5 of its dimensions."""
    path = tmp_path_factory.mktemp("bundles") / "cut"
    bundle = write_tiny_bundle(path, dimensions=(3, 5, DIMENSION))
    encoder = Encoder.open(bundle.path, threads=1)
    with TestClient(create_app(Settings(), encoder)) as client:
        yield client
