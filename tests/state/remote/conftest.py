from collections.abc import Iterator
from pathlib import Path

import pytest

from support.runners import Team
from support.s3_loopback import S3, serving_s3


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    with serving_s3() as store:
        yield store


@pytest.fixture
def s3(s3_server: S3) -> Iterator[S3]:
    """An empty bucket, without troubles."""
    s3_server.mend()
    s3_server.is_blind = False
    s3_server.empty()
    yield s3_server
    s3_server.mend()


@pytest.fixture
def team(tmp_path: Path, s3: S3) -> Team:
    return Team(tmp_path, s3)
