"""Golden vectors: inputs and the PyTorch module's outputs, which a loader repeats on its own runtime."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from log import ACTIONS
from model import Candidates, CollectiveKV, History

FIRST_INTERACTION_MS = 1_700_000_000_000
ROUTE_MARGIN = 1e-3  # golden positions stay this far from a tie between slots
ROUNDING_MARGIN = 1e-2  # and this far, in int8 steps, from the middle between two codes


@dataclass
class TensorCases:
    """Packs the cases' tensors into one file, each at a multiple of 8 bytes."""

    content: bytearray = field(default_factory=bytearray)
    cases: list[dict] = field(default_factory=list)

    def add(self, graph: str, name: str, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
        packed = {
            part: {key: self.pack(tensor) for key, tensor in tensors.items()}
            for part, tensors in (("inputs", inputs), ("outputs", outputs))
        }
        self.cases.append({"graph": graph, "name": name, **packed})

    def pack(self, tensor: Tensor) -> dict:
        array = np.ascontiguousarray(tensor.detach().numpy())
        self.content.extend(bytes(-len(self.content) % 8))
        offset = len(self.content)
        self.content.extend(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return {"type": str(array.dtype), "shape": list(array.shape), "offset": offset, "bytes": array.nbytes}


def draw_history(model: CollectiveKV, count: int, random: np.random.Generator, unknown: bool = False) -> History:
    """Random interactions whose routes and int8 codes no rounding difference between runtimes can change.

    With `unknown`, the first has an unknown item and the second an unknown action.
    """
    total = 4 * count + 64
    item = random.integers(1, model.config.items, total)
    action = random.integers(1, model.config.actions, total)
    watch = random.integers(0, 1001, total) / 1000
    if unknown:
        item[: total // 4] = 0
        action[total // 4 : total // 2] = 0
    drawn = History(*(torch.from_numpy(column) for column in (item, action, watch.astype(np.float32))))
    with torch.no_grad():
        best = model.router(model.embed_history(drawn)).topk(2, -1).values  # [total, 2]
        _, key, value = model.encode(drawn)
    steps = torch.cat([key / model.key_scale, value / model.value_scale], -1)  # [total, 2U]
    clear = (best[:, 0] - best[:, 1] > ROUTE_MARGIN) & ((steps - steps.floor() - 0.5).abs() > ROUNDING_MARGIN).all(-1)
    keep = clear.nonzero()[:, 0]
    if unknown:
        first = [keep[drawn.item[keep] == 0][:1], keep[drawn.action[keep] == 0][:1]]
        keep = torch.cat([*first, keep[keep >= total // 2]])
    keep = keep[:count]
    if len(keep) < count:
        raise RuntimeError(f"only {len(keep)} of {count} golden interactions are clear of ties")
    return History(drawn.item[keep], drawn.action[keep], drawn.watch_ratio[keep])


def draw_candidates(model: CollectiveKV, count: int, random: np.random.Generator) -> Candidates:
    count = min(count, model.config.items - 1)
    item = random.permutation(np.arange(1, model.config.items))[:count]
    freshness = random.integers(0, 1001, count) / 1000
    hour = torch.full((count,), float(random.integers(0, 24)))
    return Candidates(torch.from_numpy(item), torch.from_numpy(freshness.astype(np.float32)), hour)


@torch.no_grad()
def score(model: CollectiveKV, history: History, candidates: Candidates) -> Tensor:
    """Scores [C] of one user, probabilities, with the user dims quantised."""
    one = History(history.item[None], history.action[None], history.watch_ratio[None])
    ranked = Candidates(candidates.item[None], candidates.freshness[None], candidates.hour[None])
    return torch.sigmoid(model(one, ranked))[0]


@torch.no_grad()
def tensor_cases(model: CollectiveKV, random: np.random.Generator, max_positions: int) -> TensorCases:
    golden = TensorCases()
    for count in (1, 64):
        history = draw_history(model, count, random, unknown=count > 1)
        route, key, value = model.encode(history)
        inputs = {"item_index": history.item, "action_index": history.action, "watch_ratio": history.watch_ratio}
        golden.add("encode", plural(count, "interaction"), inputs,
                   {"route": route[:, None], "user_key": key, "user_value": value})  # fmt: skip
    for positions, count in ((0, 20), (1, 1), (37, 200), (max_positions, 100)):
        history, candidates = draw_history(model, positions, random), draw_candidates(model, count, random)
        route, key, value = model.encode(history)
        key, value = model.quantise(key, value)
        count = len(candidates.item)
        expected = {"scores": score(model, history, candidates)}
        request = {"candidate_item": candidates.item, "freshness": candidates.freshness, "hour": candidates.hour[:1]}
        slots, counts = route.unique(return_counts=True)
        name = f"{plural(positions, 'position')}, {plural(count, 'candidate')}"
        golden.add("rank", name, {**request, "slots": slots, "slot_counts": counts.float(),
                                  "user_key": key, "user_value": value}, expected)  # fmt: skip
        if positions <= 64:
            assembled = {
                "history_key": torch.cat([model.pool_key[route], key], 1),
                "history_value": torch.cat([model.pool_value[route], value], 1),
            }
            golden.add("rankKv", name, {**request, **assembled}, expected)
    for count in (0, 5):
        slots = [torch.from_numpy(random.integers(0, model.config.slots, count)) for _ in range(2)]
        golden.add("gather", plural(count, "slot"), {"key_slots": slots[0], "value_slots": slots[1]},
                   {"key_rows": model.pool_key[slots[0]], "value_rows": model.pool_value[slots[1]]})  # fmt: skip
    return golden


def served_cases(model: CollectiveKV, items: list[str], random: np.random.Generator) -> list[dict]:
    """Whole requests, from ids to scores."""
    cases = []
    for name, count in (("cold user", 0), ("1 interaction", 1), ("50 interactions, one of an unknown item, "
                        "one of an unknown action", 50), ("300 interactions", 300)):  # fmt: skip
        history = draw_history(model, count, random, unknown=count == 50)
        cases.append(served_case(model, items, name, history, draw_candidates(model, 30, random)))
    history, candidates = draw_history(model, 20, random), draw_candidates(model, 10, random)
    # What a request leaves out takes the feature's default: watch_ratio 0.5, freshness 0.5, hour 12.
    while not is_clear_at_default(model, history):
        history = draw_history(model, 20, random)
    history.watch_ratio[0] = 0.5
    candidates.freshness[:] = 0.5
    candidates.hour[:] = 12
    candidates.item[0] = 0
    case = served_case(model, items, "features left out, an unknown candidate", history, candidates)
    case["interactions"][0]["features"] = {}
    cases.append(case | {"candidateFeatures": {}, "contextFeatures": {}})
    return cases


def served_case(model: CollectiveKV, items: list[str], name: str, history: History, candidates: Candidates) -> dict:
    interactions = [
        {
            "itemId": items[item] or "not-in-the-catalogue",
            "action": ACTIONS[action] if action > 0 else "not-in-the-vocabulary",
            "timestampMs": FIRST_INTERACTION_MS + 60_000 * i,
            "features": {"watch_ratio": round(watch, 3)},
        }
        for i, (item, action, watch) in enumerate(
            zip(history.item.tolist(), history.action.tolist(), history.watch_ratio.tolist())
        )
    ]
    return {
        "name": name,
        "interactions": interactions,
        "candidateIds": [items[item] or "not-in-the-catalogue" for item in candidates.item.tolist()],
        "candidateFeatures": {"freshness": [round(value, 3) for value in candidates.freshness.tolist()]},
        "contextFeatures": {"hour": candidates.hour[0].item()},
        "scores": score(model, history, candidates).tolist(),
    }


@torch.no_grad()
def is_clear_at_default(model: CollectiveKV, history: History) -> bool:
    first = History(history.item[:1], history.action[:1], torch.tensor([0.5]))
    best = model.router(model.embed_history(first)).topk(2, -1).values[0]
    _, key, value = model.encode(first)
    steps = torch.cat([key / model.key_scale, value / model.value_scale], -1)
    return bool(best[0] - best[1] > ROUTE_MARGIN and ((steps - steps.floor() - 0.5).abs() > ROUNDING_MARGIN).all())


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def write_golden(model: CollectiveKV, items: list[str], folder: Path, seed: int, max_positions: int) -> None:
    random = np.random.default_rng(seed)
    (folder / "golden").mkdir()
    golden = tensor_cases(model, random, max_positions)
    (folder / "golden" / "tensors.bin").write_bytes(golden.content)
    written = {"file": "golden/tensors.bin", "cases": golden.cases}
    (folder / "golden" / "tensors.json").write_text(json.dumps(written, indent=1) + "\n")
    served = {"cases": served_cases(model, items, random)}
    (folder / "golden" / "served.json").write_text(json.dumps(served, indent=1) + "\n")
