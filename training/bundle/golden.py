"""Golden vectors: inputs and the PyTorch module's outputs, which a loader repeats on its own runtime.

What is drawn is clear of every decision that rounding could turn: routes and codes of two nearly equal scores, int8
steps, search cuts, hash planes. Histories are drawn in float32 and float64, and only what agrees is kept.
"""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bundle.graph_parts import model_tables
from bundle.record import Encoded, encode, kv_groups, layer_fields
from data.features import Feature
from data.history import Candidates, History
from data.log import Log
from errors import UserError
from models.history_cache import KeptTwin
from models.hstu import HstuRanker
from models.ranker import Ranker

FIRST_INTERACTION_MS = 1_700_000_000_000
ROUTE_MARGIN = 1e-4  # golden positions stay this far from a tie between slots
ROUNDING_MARGIN = 1e-3  # and this far, in int8 steps, from the middle between two codes
STABLE = 1e-5  # a golden candidate's score differs no more between float32 and float64
REDRAWS = 4  # of a history of which too little is clear; then it is shorter
GIVEN_DIGITS = 3  # of features in golden requests


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


@dataclass
class Drawer:
    """Draws histories and candidates that are clear of ties."""

    model: Ranker
    random: np.random.Generator
    double: Ranker = field(init=False)

    def __post_init__(self) -> None:
        self.double = copy.deepcopy(self.model).double()

    def columns(self, wanted: list[Feature], shape: tuple[int, ...]) -> Tensor:
        """[*shape, features], rounded to few digits."""
        if not wanted:
            return torch.zeros(*shape, 0)
        low, high = (np.array([getattr(f, side) for f in wanted]) for side in ("low", "high"))
        drawn = low + (high - low) * self.random.random((*shape, len(wanted)))
        return torch.from_numpy(drawn.round(GIVEN_DIGITS).clip(low, high).astype(np.float32))

    def history(self, count: int, unknown: bool = False, defaults: bool = False) -> History:
        """One user's [1, count]; fewer where max_positions is less, or less is clear.

        With `unknown`, among the first are an unknown item and an unknown action; with `defaults`, features have
        their defaults.
        """
        c = self.model.config
        count = min(count, c.max_positions)
        drawn = self.only_clear(self.draw(2 * count + 32, unknown, defaults), count)
        for _ in range(REDRAWS):
            if drawn.item.shape[1] >= count:
                break
            drawn = self.only_clear(joined(drawn, self.draw(2 * count + 32, defaults=defaults)), count)
        kept = drawn.item.shape[1]
        if count and not kept:
            raise UserError(
                f"none of {(REDRAWS + 1) * (2 * count + 32)} golden interactions are clear of ties between slots or "
                "codes; give other --slots or another --seed"
            )
        return at(drawn, torch.arange(min(count, kept)))  # what comes later changes nothing before it

    def draw(self, total: int, unknown: bool = False, defaults: bool = False) -> History:
        """[1, total], clear or not."""
        c = self.model.config
        item = self.random.integers(1, c.items, total)
        action = self.random.integers(1, c.actions, total) if c.actions > 1 else np.zeros(total, np.int64)
        if unknown:
            item[: total // 8] = 0
            action[total // 8 : total // 4] = 0
        features = self.columns(c.interaction_features, (total,))
        if defaults:
            features[:] = torch.tensor([f.default for f in c.interaction_features])
        return history_of(torch.from_numpy(item), torch.from_numpy(action), features)

    def only_clear(self, drawn: History, count: int) -> History:
        """Without what is not clear, as far as the first `count`."""
        alone = not isinstance(self.model, HstuRanker)  # else a position that is dropped changes what follows it
        while not (clear := self.clear(drawn))[:count].all():
            drop = (~clear).nonzero()[:, 0][: None if alone else 1]
            drawn = at(drawn, torch.isin(torch.arange(len(clear)), drop, invert=True))
        return drawn

    def clear(self, history: History) -> Tensor:
        """[N] bool."""
        encoded = encode(self.model, history)
        clear = (encoded.route_margin > ROUTE_MARGIN) & (encoded.rounding_margin > ROUNDING_MARGIN)
        return clear[0]

    def candidates(self, history: History, count: int, unknown: bool = False, defaults: bool = False) -> Candidates:
        """`count` for that history, [1, count]; with `unknown` the first is the unknown item."""
        c = self.model.config
        total = min(2 * count + 16, c.items - 1)
        item = torch.from_numpy(self.random.permutation(np.arange(1, c.items))[:total])
        if unknown:
            item[0] = 0
        own, context = self.columns(c.candidate_features, (total,)), self.columns(c.context_features, (1,))
        if defaults:
            own[:] = torch.tensor([f.default for f in c.candidate_features])
            context[:] = torch.tensor([f.default for f in c.context_features])
        drawn = candidates_of(item, own, context, history)
        exact = score(self.double, as_double(history), as_double(drawn))
        keep = ((score(self.model, history, drawn) - exact).abs() < STABLE).nonzero()[:count, 0]
        if len(keep) < min(count, total // 2):
            raise RuntimeError(f"only {len(keep)} of {count} golden candidates score the same in float64")
        return candidates_of(item[keep], own[keep], context, history)


def history_of(item: Tensor, action: Tensor, features: Tensor) -> History:
    return History(item[None], action[None], features[None], torch.ones_like(item[None], dtype=torch.bool))


def at(history: History, which: Tensor) -> History:
    """One user's positions that an index or a mask tells."""
    return history_of(history.item[0, which], history.action[0, which], history.features[0, which])


def joined(first: History, second: History) -> History:
    return history_of(
        *(torch.cat([getattr(x, name)[0] for x in (first, second)]) for name in ("item", "action", "features"))
    )


def candidates_of(item: Tensor, own: Tensor, context: Tensor, history: History) -> Candidates:
    now = torch.full((1, len(item)), history.item.shape[1])
    return Candidates(item[None], own[None], context.expand(len(item), -1)[None], now)


def as_double(x: History | Candidates) -> History | Candidates:
    columns = (value.double() if value.is_floating_point() else value for value in vars(x).values())
    return type(x)(*columns)


@torch.no_grad()
def score(model: Ranker, history: History, candidates: Candidates) -> Tensor:
    """Probabilities [C] of one user, with the user dims quantised."""
    return torch.sigmoid(model(history, candidates))[0]


def golden_tensors(model: Ranker, graphs: dict[str, dict], draw: Drawer, longest: int) -> TensorCases:
    golden = TensorCases()
    for count in (1, 64):
        history = draw.history(count, unknown=count > 1)
        add_encode(golden, model, graphs, plural(history.item.shape[1], "interaction"), history, 0)
    if any(x["role"] == "routes" for x in graphs["encode"]["inputs"]):
        history = draw.history(43)
        before = max(0, history.item.shape[1] - 3)
        name = f"{plural(history.item.shape[1] - before, 'interaction')} after {plural(before, 'position')}"
        add_encode(golden, model, graphs, name, history, before)
    for positions, count in ((0, 20), (1, 1), (37, 200), (longest, 100)):
        history = draw.history(positions)
        positions = history.item.shape[1]
        candidates = draw.candidates(history, count)
        expected = {"scores": score(model, history, candidates)}
        name = f"{plural(positions, 'position')}, {plural(candidates.item.shape[1], 'candidate')}"
        encoded = encode(model, history)
        for graph in ("rank", "rankKv"):
            if graph == "rank" or positions <= 64:
                inputs = fill(model, graphs[graph], encoded, candidates)
                golden.add(graph, name, inputs, expected)
    for count in (0, 5):
        add_gather(golden, graphs, model, count, draw.random)
    return golden


def add_encode(golden: TensorCases, model: Ranker, graphs: dict, name: str, history: History, before: int) -> None:
    """The last interactions of a history, after `before` positions."""
    c = model.config
    encoded = encode(model, history)
    given = {
        "interaction_item": history.item[0, before:],
        "interaction_action": history.action[0, before:],
        **{f.name: history.features[0, before:, i] for i, f in enumerate(c.interaction_features)},
    }
    past = Encoded({k: v[:, :before] for k, v in encoded.fields.items()}, encoded.route_margin, encoded.rounding_margin)
    inputs = {}
    for x in graphs["encode"]["inputs"]:
        if "field" in x:
            inputs[x["name"]] = stored(model, past, x["field"], x["role"])
        else:
            inputs[x["name"]] = given[x.get("feature", x["role"])]
    outputs = {x["name"]: encoded.fields[x["field"]][0, before:] for x in graphs["encode"]["outputs"]}
    golden.add("encode", name, inputs, outputs)


def fill(model: Ranker, graph: dict, encoded: Encoded, candidates: Candidates) -> dict[str, Tensor]:
    """A rank graph's inputs by role, as the services fill them."""
    c = model.config
    own = {f.name: candidates.features[0, :, i] for i, f in enumerate(c.candidate_features)}
    context = {f.name: candidates.context[0, :1, i] for i, f in enumerate(c.context_features)}
    inputs = {}
    for x in graph["inputs"]:
        role, name = x["role"], x["name"]
        if role == "candidate_item":
            inputs[name] = candidates.item[0]
        elif role in ("candidate_feature", "context_feature"):
            inputs[name] = (own if role == "candidate_feature" else context)[x["feature"]]
        elif role in ("distinct_slots", "slot_counts"):
            slots, counts = encoded.fields[x["field"]][0, :, 0].unique(return_counts=True)
            inputs[name] = slots if role == "distinct_slots" else counts.float()
        elif role in ("routes", "user", "raw"):
            inputs[name] = stored(model, encoded, x["field"], role)[-x.get("last", 2**31) :]
            if x["type"] == "float16":
                inputs[name] = inputs[name].half()
        else:
            inputs[name] = assembled(model, encoded, x["group"], role)
    return inputs


def stored(model: Ranker, encoded: Encoded, name: str, role: str) -> Tensor:
    """A field of every position as the record gives it back: routes [N], user dims [N, U], raw fields [N, 1]."""
    values = encoded.fields[name][0]
    if role == "routes":
        return values[:, 0]
    if isinstance(model.cache, KeptTwin):
        return values if role == "raw" else model.cache.stored(values)
    for layer in layer_fields(model):
        for part, field_name in enumerate((layer.user_key, layer.user_value)):
            if field_name == name:
                u = layer.shared.compression.user_width
                both = torch.zeros(len(values), 2 * u)
                both[:, part * u : (part + 1) * u] = values
                return layer.shared.quantise(both)[:, part * u : (part + 1) * u]
    raise KeyError(name)


def assembled(model: Ranker, encoded: Encoded, group: str, part: str) -> Tensor:
    """[pool row, user dims] of every position of a KV group."""
    fields = next(found for found in kv_groups(model) if found["name"] == group)[part]
    columns = []
    if "route" in fields:
        _, table = model_tables(model)[group][part == "value"]
        columns.append(table.detach()[stored(model, encoded, fields["route"], "routes")])
    if "user" in fields:
        columns.append(stored(model, encoded, fields["user"], "user"))
    return torch.cat(columns, 1)


def add_gather(golden: TensorCases, graphs: dict, model: Ranker, count: int, random: np.random.Generator) -> None:
    tables = model_tables(model)
    inputs, outputs = {}, {}
    for x, y in zip(graphs["gather"]["inputs"], graphs["gather"]["outputs"]):
        _, table = tables[x["group"]][x["part"] == "value"]
        slots = torch.from_numpy(random.integers(0, len(table), count))
        inputs[x["name"]], outputs[y["name"]] = slots, table.detach()[slots]
    golden.add("gather", plural(count, "slot"), inputs, outputs)


def served_cases(log_items: list[str], log_actions: list[str], draw: Drawer, longest: int) -> list[dict]:
    """Whole requests, from ids to scores."""
    drawn = (("cold user", 0, {}), ("1 interaction", 1, {}),
             ("50 interactions, one of an unknown item, one of an unknown action", 50, {"unknown": True}),
             (plural(min(300, longest), "interaction"), min(300, longest), {}))  # fmt: skip
    cases = []
    for name, count, options in drawn:
        history = draw.history(count, **options)
        if history.item.shape[1] < min(count, draw.model.config.max_positions):
            name = f"{name}; {history.item.shape[1]} clear of ties"
        cases.append(served_case(log_items, log_actions, draw.model, name, history, draw.candidates(history, 30)))
    # What a request leaves out takes the feature's default.
    history = draw.history(20, defaults=True)
    candidates = draw.candidates(history, 10, unknown=True, defaults=True)
    case = served_case(
        log_items, log_actions, draw.model, "features left out, an unknown candidate", history, candidates
    )
    for interaction in case["interactions"]:
        interaction["features"] = {}
    return [*cases, case | {"candidateFeatures": {}, "contextFeatures": {}}]


def served_case(
    items: list[str], actions: list[str], model: Ranker, name: str, history: History, candidates: Candidates
) -> dict:
    c = model.config

    def named(wanted: list[Feature], values: Tensor) -> dict:
        return {f.name: round(value, GIVEN_DIGITS) for f, value in zip(wanted, values.tolist())}

    interactions = [
        {
            "itemId": items[item] or "not-in-the-catalogue",
            "action": actions[action] or "not-in-the-vocabulary",
            "timestampMs": FIRST_INTERACTION_MS + 60_000 * i,
            "features": named(c.interaction_features, history.features[0, i]),
        }
        for i, (item, action) in enumerate(zip(history.item[0].tolist(), history.action[0].tolist()))
    ]
    columns = candidates.features[0].T.tolist()
    return {
        "name": name,
        "interactions": interactions,
        "candidateIds": [items[item] or "not-in-the-catalogue" for item in candidates.item[0].tolist()],
        "candidateFeatures": {
            f.name: [round(x, GIVEN_DIGITS) for x in xs] for f, xs in zip(c.candidate_features, columns)
        },
        "contextFeatures": named(c.context_features, candidates.context[0, 0]),
        "scores": score(model, history, candidates).tolist(),
    }


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def write_golden(model: Ranker, log: Log, graphs: dict[str, dict], folder: Path, seed: int, longest: int) -> None:
    """`longest`: positions of the longest history."""
    draw = Drawer(model, np.random.default_rng(seed))
    (folder / "golden").mkdir()
    golden = golden_tensors(model, graphs, draw, longest)
    (folder / "golden" / "tensors.bin").write_bytes(golden.content)
    written = {"file": "golden/tensors.bin", "cases": golden.cases}
    (folder / "golden" / "tensors.json").write_text(json.dumps(written, indent=1) + "\n")
    served = {"cases": served_cases(log.items, log.actions, draw, longest)}
    (folder / "golden" / "served.json").write_text(json.dumps(served, indent=1) + "\n")
