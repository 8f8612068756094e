"""Makes collectivekv/v1 of the .proto files when the wheel is built."""

from pathlib import Path

import grpc_tools
from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class MessagesHook(BuildHookInterface):
    """Runs protoc. A source distribution has the .proto files; a checkout has them at its root."""

    def initialize(self, version: str, build_data: dict) -> None:
        root = Path(self.root)
        own = root / "proto"
        protos = own if own.is_dir() else root.parent.parent / "proto"
        files = [str(protos / f"collectivekv/v1/{name}.proto") for name in ("tensor", "interaction", "ranking")]
        out = str(root / "src")
        well_known = str(Path(grpc_tools.__file__).parent / "_proto")
        options = [f"-I{protos}", f"-I{well_known}", f"--python_out={out}", f"--pyi_out={out}"]
        if protoc.main(["protoc", *options, f"--grpc_python_out={out}", *files]) != 0:
            raise RuntimeError(f"protoc failed for the files in {protos}")
        (root / "src/collectivekv/v1/__init__.py").write_text('"""The messages of the services."""\n')
