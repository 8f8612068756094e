"""Bundles that the tests of this folder share."""

import pytest

from testbed.built_bundles import CLUSTERED, FULL_FORMS, HSTU, VARIANTS, Built, built_once


@pytest.fixture(params=[*VARIANTS, *FULL_FORMS, *CLUSTERED])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built_once(request.param, tmp_path_factory)


@pytest.fixture(params=VARIANTS)
def built_shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built_once(request.param, tmp_path_factory)


@pytest.fixture(params=HSTU)
def built_hstu(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built_once(request.param, tmp_path_factory)
