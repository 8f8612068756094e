"""Unpacks wheels: the CUDA provider of onnxruntime into one folder, NVIDIA's libraries into another.

    python unpack-cuda.py WHEELS PROVIDER LIBRARIES
"""

import sys
import zipfile
from pathlib import Path

PROVIDER = ("libonnxruntime_providers_cuda.so", "libonnxruntime_providers_shared.so")


def unpack(wheels: Path, provider: Path, libraries: Path) -> None:
    """Writes the shared objects of all wheels. Exits with an error if a part of the provider is in none."""
    for folder in (provider, libraries):
        folder.mkdir(parents=True, exist_ok=True)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                file = Path(name).name
                if file in PROVIDER:
                    (provider / file).write_bytes(archive.read(name))
                elif name.startswith("nvidia/") and ".so" in file:
                    (libraries / file).write_bytes(archive.read(name))
    missing = [file for file in PROVIDER if not (provider / file).exists()]
    if missing:
        sys.exit(f"no wheel has {', '.join(missing)}")


if __name__ == "__main__":
    unpack(*map(Path, sys.argv[1:]))
