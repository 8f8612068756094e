"""Writes a bundle: the graphs, their parameters, the item catalogue, golden vectors and the manifest with digests.

A bundle's id is the first 16 hex characters of the sha256 of its bundle.json. The same model gives the same bytes.
"""

import hashlib
import json
import shutil
from pathlib import Path

from golden import write_golden
from graphs import write_graphs
from log import ACTIONS, Log
from model import CollectiveKV

MAX_CANDIDATES = 1000
TOLERANCE = 1e-4


def export_bundle(
    model: CollectiveKV, log: Log, folder: Path, name: str, max_positions: int, command: str, metrics: dict[str, float]
) -> str:
    """Writes the bundle in the place of what was at `folder`, and returns its id."""
    model.eval()
    draft = folder.with_name(f".{folder.name}-draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    write_graphs(model, draft)
    (draft / "items.json").write_text(json.dumps({"ids": log.items}) + "\n")
    write_golden(model, log.items, draft, seed=1, max_positions=max_positions)
    manifest = {
        **describe(model, name, max_positions),
        "items": {"file": "items.json", "count": len(log.items)},
        "files": [describe_file(draft, path) for path in sorted(draft.rglob("*")) if path.is_file()],
        "training": {"command": command, "metrics": metrics},
    }
    written = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    (draft / "bundle.json").write_text(written)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    return hashlib.sha256(written.encode()).hexdigest()[:16]


def describe_file(folder: Path, path: Path) -> dict:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"path": path.relative_to(folder).as_posix(), "bytes": len(content), "sha256": digest}


def describe(model: CollectiveKV, name: str, max_positions: int) -> dict:
    c = model.config
    u = c.user_width

    def tensor(name: str, type_: str, shape: list, role: str, **more: str) -> dict:
        return {"name": name, "role": role, "type": type_, "shape": shape, **more}

    request = [
        tensor("candidate_item", "int64", ["candidates"], "candidate_item"),
        tensor("freshness", "float32", ["candidates"], "candidate_feature", feature="freshness"),
        tensor("hour", "float32", [1], "context_feature", feature="hour"),
    ]
    scores = [tensor("scores", "float32", ["candidates"], "scores")]
    route_type = "uint8" if c.slots <= 256 else "uint16"
    route = {"name": "route", "kind": "route", "type": route_type, "width": 1, "slots": c.slots}
    user_fields = [
        {"name": field, "kind": "user", "type": "int8", "width": u, "scale": scale.tolist()}
        for field, scale in (("user_key", model.key_scale), ("user_value", model.value_scale))
    ]
    return {
        "schemaVersion": 1,
        "name": name,
        "family": "target-attention",
        "description": "Target attention over a user's history, one shared pool for keys and values, user KV in a head "
        "of its own. Scores are probabilities of a click or a like.",
        "dModel": c.d_model,
        "heads": c.heads,
        "maxPositions": max_positions,
        "maxCandidates": MAX_CANDIDATES,
        "actions": ACTIONS,
        "features": {
            "interaction": [{"name": "watch_ratio", "default": 0.5, "min": 0, "max": 1}],
            "candidate": [{"name": "freshness", "default": 0.5, "min": 0, "max": 1}],
            "context": [{"name": "hour", "default": 12, "min": 0, "max": 24}],
        },
        "record": {"fields": [route, *user_fields]},
        "groups": [
            {
                "name": "history",
                "pool": {"slots": c.slots, "keyWidth": c.d_model, "valueWidth": c.d_model},
                "key": {"route": "route", "user": "user_key"},
                "value": {"route": "route", "user": "user_value"},
            }
        ],
        "graphs": {
            "encode": {
                "file": "encode.onnx",
                "inputs": [
                    tensor("item_index", "int64", ["batch"], "interaction_item"),
                    tensor("action_index", "int64", ["batch"], "interaction_action"),
                    tensor("watch_ratio", "float32", ["batch"], "interaction_feature", feature="watch_ratio"),
                ],
                "outputs": [
                    tensor("route", "int64", ["batch", 1], "field", field="route"),
                    tensor("user_key", "float32", ["batch", u], "field", field="user_key"),
                    tensor("user_value", "float32", ["batch", u], "field", field="user_value"),
                ],
            },
            "rank": {
                "file": "rank.onnx",
                "inputs": [
                    *request,
                    tensor("slots", "int64", ["slots"], "distinct_slots", field="route"),
                    tensor("slot_counts", "float32", ["slots"], "slot_counts", field="route"),
                    tensor("user_key", "float32", ["positions", u], "user", field="user_key"),
                    tensor("user_value", "float32", ["positions", u], "user", field="user_value"),
                ],
                "outputs": scores,
            },
            "rankKv": {
                "file": "rank_kv.onnx",
                "inputs": [
                    *request,
                    tensor("history_key", "float32", ["positions", c.d_model + u], "key", group="history"),
                    tensor("history_value", "float32", ["positions", c.d_model + u], "value", group="history"),
                ],
                "outputs": scores,
            },
            "gather": {
                "file": "gather.onnx",
                "inputs": [
                    tensor(f"{part}_slots", "int64", ["slots"], "slots", group="history", part=part)
                    for part in ("key", "value")
                ],
                "outputs": [
                    tensor(f"{part}_rows", "float32", ["slots", c.d_model], "rows", group="history", part=part)
                    for part in ("key", "value")
                ],
            },
        },
        "golden": {"tensors": "golden/tensors.json", "served": "golden/served.json", "tolerance": TOLERANCE},
    }
