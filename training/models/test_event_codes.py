"""Event codes: an event takes the row of its code."""

import torch

from models.event_codes import EventCodes


def test_an_event_takes_the_row_with_the_largest_score() -> None:
    codes = EventCodes(3, embedding=2)
    with torch.no_grad():
        codes.router.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]))
        codes.router.bias.copy_(torch.tensor([0.0, 0, 0.5]))
        codes.rows.copy_(torch.arange(12.0).view(3, 4))
    events = torch.tensor([[[2.0, 1, 0, 0], [0, 1, 9, 9]], [[0.1, 0.2, 0, 0], [3, 4, 0, 0]]])
    assert torch.equal(codes(events), codes.rows[torch.tensor([[0, 1], [2, 1]])])


def test_rows_learn_and_the_router_does_not() -> None:
    codes = EventCodes(3, embedding=2)
    codes(torch.randn(1, 5, 4)).sum().backward()
    assert codes.rows.grad.abs().sum() > 0
    assert not any(x.requires_grad for x in codes.router.parameters())
