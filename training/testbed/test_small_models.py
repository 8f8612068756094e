"""The small models suit the tests."""

from testbed.small_models import small_config


def test_searches_of_the_small_models_keep_fewer_positions_than_their_histories_have() -> None:
    config = small_config("sim")
    assert config.recent < config.top_k < 30 < config.max_positions
