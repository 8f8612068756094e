"""The bundle whose encoding a new training keeps, and the check that it can be kept."""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper

from bundle.encoding_id import encode_folder, encoding_id, encoding_of
from bundle.export import UNKNOWN_ACTION, write_encoding
from bundle.graphs import write_graphs
from conversion.kept_encoding import KeptEncoding
from data.log import Log
from errors import UserError
from models.ranker import Ranker

HISTORY_ROLES = ("routes", "user", "raw")  # inputs of an encode graph over positions
REMEDIES = {
    "maxPositions": "give its --max-positions",
    "features": "give its --interaction-features",
    "fields": "give its --record and its options of the record",
    "items": "its catalogue must stay as it is",
    "actions": "its actions must stay as they are",
}


@dataclass
class KeptBundle:
    folder: Path
    manifest: dict
    items: list[str]  # index 0 is the unknown item, ""
    actions: list[str]  # index 0 is the unknown action, ""
    encoding: KeptEncoding

    @property
    def encoding_id(self) -> str:
        return encoding_id(self.manifest)

    @property
    def generation(self) -> int:
        return self.manifest["record"].get("generation", 1)

    def adopt(self, log: Log) -> Log:
        """Returns the log with the bundle's items and actions. Items that the bundle does not know become unknown.

        Raises UserError for an action that the bundle does not know. Prints how much of the log is of unknown items.
        """
        unknown = [action for action in log.actions[1:] if action not in self.actions]
        if unknown:
            raise UserError(
                f"--keep-encoding {self.folder}: the log has the action {unknown[0]!r}, the bundle has "
                f"{', '.join(self.actions[1:]) or 'none'}; leave its rows out, or train without --keep-encoding"
            )
        adopted = log.with_vocabularies(self.items, self.actions)
        parts = ((adopted.item, "positions"), (adopted.query_item, "queries"))
        shares = [f"{(column == 0).mean():.1%} of the {what}" for column, what in parts if len(column)]
        print(f"  unknown to {self.folder}: the items of {' and '.join(shares)}", flush=True)
        return adopted

    def check(self, model: Ranker, log: Log, max_positions: int) -> None:
        """Checks that a bundle of the model has this encoding. The weights that only rank graphs read do not matter.

        Raises UserError with the parts that differ.
        """
        with tempfile.TemporaryDirectory() as name, torch.no_grad():
            folder = Path(name)
            graphs = write_graphs(model, folder)
            manifest = write_encoding(model, log, graphs, folder, max_positions, self.generation)
        had, found = encoding_of(self.manifest), encoding_of(manifest)
        for part in had:
            if had[part] == found[part]:
                continue
            what = f"{self.folder} has {short(had[part])}, this training has {short(found[part])}"
            remedy = REMEDIES.get(part, "give the options and the version of training that it was made with")
            raise UserError(f"--keep-encoding: {part} would differ: {what}; {remedy}, or train without --keep-encoding")


def short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def read_kept_bundle(folder: Path) -> KeptBundle:
    """Reads the encoding of a bundle. Raises UserError if it cannot be kept."""
    what = f"--keep-encoding {folder}"
    try:
        manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        inside = encode_folder(manifest)
        needed = [file for file in manifest["files"] if file["path"].startswith(inside)]
        needed += [file for file in manifest["files"] if file["path"] == manifest["items"]["file"]]
        contents = {file["path"]: (folder / file["path"]).read_bytes() for file in needed if inside}
    except OSError as error:
        raise UserError(f"{what}: cannot be read ({error.strerror}); give the folder of a bundle") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{what}: bundle.json is no manifest; give the folder of a bundle") from error
    if not inside:
        raise UserError(
            f"{what}: its encode graph has no folder of its own, so its encoding includes all weights; train without "
            "--keep-encoding once"
        )
    for file in needed:
        if hashlib.sha256(contents[file["path"]]).hexdigest() != file["sha256"]:
            raise UserError(f"{what}: {file['path']} is damaged, its sha256 differs; copy the bundle again")
    if any(x["role"] in HISTORY_ROLES for x in manifest["graphs"]["encode"]["inputs"]):
        raise UserError(
            f"{what}: its rows depend on the rows before them, through layers that are trained with the others; new "
            "weights would give other rows. Train without --keep-encoding"
        )
    items = json.loads(contents[manifest["items"]["file"]])["ids"]
    actions = ["" if action == UNKNOWN_ACTION else action for action in manifest["actions"]]
    encoding = read_encoding(folder / manifest["graphs"]["encode"]["file"], manifest["record"]["fields"])
    return KeptBundle(folder, manifest, items, actions, encoding)


def read_encoding(graph: Path, fields: list[dict]) -> KeptEncoding:
    """Reads the parameters of an encode graph. `fields` are the manifest's record fields."""
    parameters = onnx.load(graph).graph.initializer
    scales = {field["name"]: field["scale"] for field in fields if "scale" in field}
    return KeptEncoding({x.name: torch.from_numpy(numpy_helper.to_array(x).copy()) for x in parameters}, scales)
