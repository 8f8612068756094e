"""The encoding id of a bundle: what decides the bytes of a row. Bundles with one encoding id share user records.

docs/adr/0017-encoding-id.md has the parts and the reasons. packages/domain/src/bundle/encoding-id.ts does the same, and
test/fixtures/encoding-ids.json has cases for both.
"""

import hashlib
import json
import struct

VERSION = 1  # of the canonical form; change it if the same manifest begins to give other rows


def encoding_id(manifest: dict) -> str:
    """Returns the first 16 hexadecimal characters of the sha256 of the canonical form of the manifest's encoding."""
    written = json.dumps(canonical(encoding_of(manifest)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()[:16]


def encoding_of(manifest: dict) -> dict:
    """Returns the parts of a manifest that decide the bytes of a row, and how many rows a record keeps."""
    graph = manifest["graphs"]["encode"]
    digests = {file["path"]: file["sha256"] for file in manifest["files"]}
    folder = encode_folder(manifest)
    return {
        "version": VERSION,
        "schemaVersion": manifest["schemaVersion"],
        "maxPositions": manifest["maxPositions"],
        "items": digests[manifest["items"]["file"]],
        "actions": manifest["actions"],
        "features": manifest["features"]["interaction"],
        "fields": manifest["record"]["fields"],
        **{key: value for key, value in manifest["record"].items() if key == "generation"},  # absent: the first
        # A graph can read any file of its folder, and no other: onnxruntime refuses paths that leave it.
        "graph": {"file": graph["file"][len(folder) :], "inputs": graph["inputs"], "outputs": graph["outputs"]},
        "files": {path[len(folder) :]: digest for path, digest in digests.items() if path.startswith(folder)},
    }


def encode_folder(manifest: dict) -> str:
    """Returns the encode graph's folder with its final slash; empty for the bundle's own folder."""
    file = manifest["graphs"]["encode"]["file"]
    return file[: file.rfind("/") + 1]


def canonical(value: object) -> object:
    """Returns a JSON value whose numbers are strings: 16 hexadecimal digits of a big-endian float64.

    Languages write decimals differently.
    """
    if isinstance(value, dict):
        return {key: canonical(member) for key, member in value.items()}
    if isinstance(value, list):
        return [canonical(member) for member in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return struct.pack(">d", float(value) + 0.0).hex()  # -0.0 becomes 0.0
    return value
