"""Golden tensors: inputs of the graphs, and the PyTorch model's outputs. A loader repeats them on its own runtime."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bundle.golden_batches import BATCHES, batch_scores, draw_batch, join_feeds
from bundle.golden_drawer import Drawer, as_double, plural, score
from bundle.golden_explanation import explanation
from bundle.golden_requests import served_cases
from bundle.record import encode, kv_groups, pool_tables, record_layers
from data.history import Candidates, History
from data.log import Log
from models.caches.record_layer import Encoded
from models.ranker import Ranker

EXPLAINED = 37  # positions of the explain graph's golden history


@dataclass
class TensorCases:
    """Packs the cases' tensors into one file, each at a multiple of 8 bytes."""

    content: bytearray = field(default_factory=bytearray)
    cases: list[dict] = field(default_factory=list)

    def add(self, graph: str, name: str, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
        """Adds a case of a graph, its tensors by input and output name."""
        packed = {
            part: {key: self.pack(tensor) for key, tensor in tensors.items()}
            for part, tensors in (("inputs", inputs), ("outputs", outputs))
        }
        self.cases.append({"graph": graph, "name": name, **packed})

    def pack(self, tensor: Tensor) -> dict:
        """Appends a tensor, little-endian. Returns its description."""
        array = np.ascontiguousarray(tensor.detach().numpy())
        self.content.extend(bytes(-len(self.content) % 8))
        offset = len(self.content)
        self.content.extend(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return {"type": str(array.dtype), "shape": list(array.shape), "offset": offset, "bytes": array.nbytes}


def golden_tensors(model: Ranker, graphs: dict[str, dict], draw: Drawer, longest: int) -> TensorCases:
    """Returns cases of every graph, for histories of different lengths up to `longest` positions."""
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
    """Adds a case of encode.onnx: the interactions of a history after the first `before`, which are encoded already."""
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
    """Returns the inputs of a rank graph, filled by their roles as the services do."""
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
        elif role == "slot_places":
            inputs[name] = encoded.fields[x["field"]][0, :, 0].unique(return_inverse=True)[1]
        elif role in ("cluster_counts", "cluster_means"):
            (layer,) = (layer for layer in record_layers(model) if layer.clusterings())
            inputs[name] = layer.cluster_rows(encoded)[role == "cluster_means"]
        elif role == "cluster_places":
            (layer,) = (layer for layer in record_layers(model) if layer.clusterings())
            inputs[name] = layer.cluster_places(encoded)
        elif role == "position_embeddings":
            (layer,) = (layer for layer in record_layers(model) if layer.clusterings())
            inputs[name] = layer.position_rows(encoded)[-x.get("last", 2**31) :]
        elif role in ("routes", "user", "raw"):
            inputs[name] = stored(model, encoded, x["field"], role)[-x.get("last", 2**31) :]
            if x["type"] == "float16":
                inputs[name] = inputs[name].half()
        else:
            inputs[name] = assembled(model, encoded, x["group"], role)
    return inputs


def stored(model: Ranker, encoded: Encoded, name: str, role: str) -> Tensor:
    """Returns a field of every position from the record: routes [N], user dims [N, U], raw fields [N, 1]."""
    values = encoded.fields[name][0]
    if role == "routes":
        return values[:, 0]
    if role == "raw":
        return values
    (layer,) = (layer for layer in record_layers(model) if any(field["name"] == name for field in layer.fields()))
    return layer.stored(name, values)


def assembled(model: Ranker, encoded: Encoded, group: str, part: str) -> Tensor:
    """Returns [pool row, user dims] of every position of a KV group."""
    fields = next(found for found in kv_groups(model) if found["name"] == group)[part]
    columns = []
    if "route" in fields:
        _, table = pool_tables(model)[group][part == "value"]
        columns.append(table.detach()[stored(model, encoded, fields["route"], "routes")])
    if "user" in fields:
        columns.append(stored(model, encoded, fields["user"], "user"))
    return torch.cat(columns, 1)


def add_gather(golden: TensorCases, graphs: dict, model: Ranker, count: int, random: np.random.Generator) -> None:
    """Adds a case of gather.onnx, with `count` random slots of each table."""
    tables = pool_tables(model)
    inputs, outputs = {}, {}
    for x, y in zip(graphs["gather"]["inputs"], graphs["gather"]["outputs"]):
        _, table = tables[x["group"]][x["part"] == "value"]
        slots = torch.from_numpy(random.integers(0, len(table), count))
        inputs[x["name"]], outputs[y["name"]] = slots, table.detach()[slots]
    golden.add("gather", plural(count, "slot"), inputs, outputs)


def add_explain(golden: TensorCases, graphs: dict, draw: Drawer) -> None:
    """Adds cases of explain.onnx, if the bundle has it."""
    if "explain" not in graphs:
        return
    for positions, count in ((0, 2), (EXPLAINED, 4)):
        history = draw.history(positions)
        candidates = draw.candidates(history, count)
        inputs = fill(draw.model, graphs["explain"], encode(draw.model, history), candidates)
        found = explanation(draw.double, as_double(history), as_double(candidates), graphs["explain"]["outputs"])
        name = f"{plural(history.item.shape[1], 'position')}, {plural(candidates.item.shape[1], 'candidate')}"
        golden.add("explain", name, inputs, found)


def add_batches(golden: TensorCases, graphs: dict, draw: Drawer) -> None:
    """Adds cases of rank_batch.onnx, if the bundle has it."""
    if "rankBatch" not in graphs:
        return
    for count, positions in BATCHES:
        users = draw_batch(draw, count, positions)
        feeds = [fill(draw.model, graphs["rank"], encode(draw.model, user.history), user.candidates) for user in users]
        scores = batch_scores(draw.model, users)
        inputs = join_feeds(graphs["rankBatch"]["inputs"], feeds)
        name = f"{plural(count, 'user')}, at most {plural(max(positions), 'position')}"
        golden.add("rankBatch", name, inputs, {"scores": scores})


def write_golden(model: Ranker, log: Log, graphs: dict[str, dict], folder: Path, seed: int, longest: int) -> None:
    """Writes golden/ into the bundle's folder. `longest`: positions of the longest history."""
    draw = Drawer(model, np.random.default_rng(seed))
    (folder / "golden").mkdir()
    golden = golden_tensors(model, graphs, draw, longest)
    add_explain(golden, graphs, Drawer(model, np.random.default_rng(seed + 1)))
    add_batches(golden, graphs, Drawer(model, np.random.default_rng(seed + 2)))
    (folder / "golden" / "tensors.bin").write_bytes(golden.content)
    written = {"file": "golden/tensors.bin", "cases": golden.cases}
    (folder / "golden" / "tensors.json").write_text(json.dumps(written, indent=1) + "\n")
    served = {"cases": served_cases(log.items, log.actions, draw, longest)}
    (folder / "golden" / "served.json").write_text(json.dumps(served, indent=1) + "\n")
