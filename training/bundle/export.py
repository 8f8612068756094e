"""Writes a bundle: the graphs, their parameters, the item catalogue, golden vectors and the manifest with digests.

The id of a bundle is the first 16 hex characters of the sha256 of its bundle.json. The same model gives the same
bytes.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bundle.bundle_folder import check_folder
from bundle.encoding_id import encoding_id
from bundle.golden import write_golden
from bundle.graphs import write_graphs
from bundle.record import clusterings, kv_groups, record_fields, record_layers
from bundle.slot_usage import write_slot_usage
from data.features import Feature
from data.history import History
from data.log import Log
from models.families.registry import family_of
from models.ranker import Ranker

MAX_CANDIDATES = 1000
TOLERANCE = 1e-4
UNKNOWN_ACTION = "<unknown>"


@dataclass
class Export:
    """The parts of a manifest that do not come from the model."""

    name: str
    command: str
    metrics: dict[str, float] = field(default_factory=dict)
    max_positions: int = 1000
    golden_positions: int | None = None  # length of the longest golden history; None: max_positions
    encoding_id: str | None = None  # that the bundle must have; None: any
    generation: int = 1  # of the bundle's records
    sample: History | None = None  # histories whose slots are counted; None: the bundle has no counts


def export_bundle(model: Ranker, log: Log, folder: Path, about: Export) -> str:
    """Writes the bundle to `folder`, in place of an older bundle. Returns the bundle's id.

    Raises UserError if a bundle may not replace the folder, RuntimeError if its encoding id is not the required one.
    """
    check_folder(folder)
    model = model.cpu().eval().requires_grad_(False)
    draft = folder.with_name(f".{folder.name}-draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        written = write_draft(model, log, draft, about)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # of a failed export
    return hashlib.sha256(written.encode()).hexdigest()[:16]


def write_draft(model: Ranker, log: Log, draft: Path, about: Export) -> str:
    """Writes all files of a bundle. Returns the text of bundle.json."""
    with torch.no_grad():
        graphs = write_graphs(model, draft)
        for layer in record_layers(model):
            for path, content in layer.files().items():
                (draft / path).write_bytes(content)
        longest = about.max_positions if about.golden_positions is None else about.golden_positions
        write_golden(model, log, graphs, draft, seed=1, longest=longest)
        usage = write_slot_usage(model, about.sample, draft) if about.sample is not None else []
        encoding = write_encoding(model, log, graphs, draft, about.max_positions, about.generation)
    family, c = family_of(model), model.config
    layers = family.layers_in_a_cache(c.layers)
    notes = "".join(dict.fromkeys(layer.note for layer in record_layers(model)))
    manifest = encoding | {
        "name": about.name,
        "family": family.bundle_family,
        "description": f"{family.description}{notes}. Scores are probabilities that the label is 1.",
        "dModel": layers * c.d_model,
        "heads": layers * c.heads,
        "maxCandidates": MAX_CANDIDATES,
        "groups": kv_groups(model),
        "golden": {"tensors": "golden/tensors.json", "served": "golden/served.json", "tolerance": TOLERANCE},
        "training": {"command": about.command, "metrics": about.metrics},
    }
    if usage:
        manifest["training"]["slotUsage"] = usage
    if found := clusterings(model):
        manifest["clusterings"] = found
    if about.encoding_id not in (None, encoding_id(manifest)):
        raise RuntimeError(f"the bundle has encoding {encoding_id(manifest)}, not {about.encoding_id}")
    written = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    (draft / "bundle.json").write_text(written)
    return written


def write_encoding(
    model: Ranker, log: Log, graphs: dict[str, dict], draft: Path, max_positions: int, generation: int = 1
) -> dict:
    """Writes the catalogue beside the graphs. Returns the parts of the manifest that the encoding id depends on."""
    (draft / "items.json").write_text(json.dumps({"ids": log.items}) + "\n")
    c = model.config
    return {
        "schemaVersion": 1,
        "maxPositions": max_positions,
        "items": {"file": "items.json", "count": len(log.items)},
        "actions": [action or UNKNOWN_ACTION for action in log.actions],
        "features": {
            "interaction": [describe_feature(f) for f in c.interaction_features],
            "candidate": [describe_feature(f) for f in c.candidate_features],
            "context": [describe_feature(f) for f in c.context_features],
        },
        "record": {"fields": record_fields(model)} | ({"generation": generation} if generation > 1 else {}),
        "graphs": graphs,
        "files": [describe_file(draft, path) for path in sorted(draft.rglob("*")) if path.is_file()],
    }


def describe_feature(f: Feature) -> dict:
    return {"name": f.name, "default": f.default, "min": f.low, "max": f.high}


def describe_file(folder: Path, path: Path) -> dict:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"path": path.relative_to(folder).as_posix(), "bytes": len(content), "sha256": digest}
