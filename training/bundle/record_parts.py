"""What descriptions of records are made of, whatever a model keeps of its positions."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Encoded:
    """Fields of positions as encode.onnx gives them, and how far each position is from another outcome."""

    fields: dict[str, Tensor]  # each [B, N, width]
    route_margin: Tensor  # [B, N] between the best and the second slot or code, smallest of all fields
    rounding_margin: Tensor  # [B, N] of int8 user dims from the middle between two steps


def route_field(name: str, slots: int) -> dict:
    return {"name": name, "kind": "route", "type": "uint8" if slots <= 256 else "uint16", "width": 1, "slots": slots}


def pool_of(slots: int, key_width: int, value_width: int) -> dict:
    return {"slots": slots, "keyWidth": key_width, "valueWidth": value_width}
