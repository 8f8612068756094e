"""The margins of residual codes, against geometry."""

import torch

from conversion.residual import convert_residual
from models.caches.residual_record import MARGIN_UNIT, distance_to_tie
from models.ranker import Ranker
from testbed.small_models import padded_histories, sample_of, small_full


def coded() -> Ranker:
    full = small_full("target")
    return convert_residual(full, sample_of(full), seed=1, stages=3, clusters=8, codes=8)


def test_a_position_is_as_far_from_a_tie_as_from_the_plane_between_its_two_nearest_rows() -> None:
    random = torch.Generator().manual_seed(1)
    rows, space = torch.randn(5, 3, generator=random), torch.randn(3, 4, generator=random)
    s = torch.randn(20, 3, generator=random)
    weight, points, centroids = rows @ space @ space.T, s @ space, rows @ space
    best = (s @ weight.T - centroids.square().sum(1) / 2).topk(2, -1)
    found = distance_to_tie(best.values, best.indices, weight, rows)
    near, next_ = (centroids[best.indices[:, i]] for i in range(2))
    normal = (near - next_) / (near - next_).norm(dim=1, keepdim=True)
    expected = ((points - (near + next_) / 2) * normal).sum(1)
    torch.testing.assert_close(found, expected)
    assert torch.equal((points[:, None] - centroids).norm(dim=-1).argmin(1), best.indices[:, 0])


def test_the_margin_of_a_position_is_that_of_its_closest_stage() -> None:
    model = coded()
    history = padded_histories(model.config, (40,), seed=3, tokens=30)
    with torch.no_grad():
        encoded = model.cache.record_layer("", model).encode(history, *[model.embed_history(history)] * 2)
        left, margins = model.exact(history), []
        for router, rows in zip(model.position_codes.routers, model.position_codes.rows):
            best = router(left).topk(2, -1)
            margins.append(distance_to_tie(best.values, best.indices, router.weight, rows) / MARGIN_UNIT)
            left = left - rows[best.indices[..., 0]]
    torch.testing.assert_close(encoded.route_margin, torch.stack(margins).amin(0))
    assert len(torch.stack(margins).argmin(0).unique()) == 3
    assert (encoded.rounding_margin == torch.inf).all()
