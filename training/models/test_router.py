"""A router that remembers gives the same routes, and scores each row once."""

import copy

import pytest
import torch

from models.router import Router


def frozen(slots: int = 50) -> Router:
    torch.manual_seed(1)
    router = Router(8, slots).requires_grad_(False)
    router.remembers = True
    return router


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows that each call of a router scored."""
    sizes: list[int] = []
    forward = Router.forward

    def counted(self: Router, x: torch.Tensor) -> torch.Tensor:
        sizes.append(x.flatten(0, -2).shape[0])
        return forward(self, x)

    monkeypatch.setattr(Router, "forward", counted)
    return sizes


def rows(*which: int) -> torch.Tensor:
    return torch.randn(40, 8, generator=torch.Generator().manual_seed(2))[list(which)]


def test_routes_are_those_of_the_best_scores_and_each_row_is_scored_once(scored: list[int]) -> None:
    router = frozen()
    for batch in (rows(3, 3, 7, 3), rows(7, 3), rows(9, 7, 1, 9).view(2, 2, 8), rows(), rows(*range(40))):
        best = torch.nn.functional.linear(batch, router.weight, router.bias).argmax(-1)
        assert torch.equal(router.route(batch), best)
    assert scored == [2, 2, 36]


def test_it_forgets_the_slots_that_other_parameters_chose() -> None:
    router, x = frozen(), rows(*range(40))
    before = router.route(x)
    router.load_state_dict({"weight": -router.weight, "bias": router.bias})
    assert torch.equal(router.route(x), router(x).argmax(-1))
    assert not torch.equal(router.route(x), before)
    other = copy.deepcopy(router)
    with torch.no_grad():
        other.weight.mul_(-1)
        router.bias[3] = 1e6
    assert torch.equal(other.route(x), before)
    assert (router.route(x) == 3).all()
    bias = torch.zeros(50)
    bias[5] = 1e7
    router.bias.data = bias  # does not change the version of the parameter
    assert (router.route(x) == 5).all()


def test_a_router_that_learns_scores_every_row_with_gradients(scored: list[int]) -> None:
    router = frozen().requires_grad_(True)
    assert router.route(rows(3, 3)).shape == (2,)
    assert scored == [2]


def test_it_stops_remembering_if_rows_do_not_repeat(monkeypatch: pytest.MonkeyPatch, scored: list[int]) -> None:
    monkeypatch.setattr(Router, "REMEMBERED", 30)
    router = frozen()
    for start in (0, 20, 0):
        x = rows(*range(start, start + 20))
        assert torch.equal(router.route(x), torch.nn.functional.linear(x, router.weight, router.bias).argmax(-1))
    assert scored == [20, 20, 20]
    assert not router.remembers and len(router.hashes) == len(router.slots) == 0
