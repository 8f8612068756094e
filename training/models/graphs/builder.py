"""Builds ONNX graphs node by node. Big parameters go to external files, which the graphs of a bundle share."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

OPSET, IR_VERSION = 21, 10
ORT_DOMAIN = "com.microsoft"  # onnxruntime's own operators
INLINE_BYTES = 1024  # smaller parameters stay in the graph
ALIGNMENT = 64
WEIGHTS, POOL = "weights.bin", "pool.bin"
Branch = Callable[[], list[str]]
TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
}


@dataclass
class ExternalFiles:
    """The files of tensors that several graphs read. Each tensor is in one of them, once."""

    contents: dict[str, bytearray] = field(default_factory=dict)
    places: dict[bytes, tuple[str, int]] = field(default_factory=dict)  # digest of a tensor -> file, offset

    def place(self, file: str, array: np.ndarray) -> tuple[str, int]:
        """Appends a tensor to a file, unless a file has an equal one. Returns its file and its offset."""
        digest = hashlib.sha256(array).digest()
        if digest not in self.places:
            content = self.contents.setdefault(file, bytearray())
            content.extend(bytes(-len(content) % ALIGNMENT))
            self.places[digest] = (file, len(content))
            content.extend(array.tobytes())
        return self.places[digest]


class Graph:
    """Collects nodes. A method that adds a node returns the name of its output.

    Inputs and outputs are declared with their roles. The manifest's description of a graph comes from these.
    `path` is the graph's file in the bundle. A graph of a folder has its big parameters in this folder. A `padded`
    graph reads histories with rows of padding at their ends, see rows.present.
    """

    def __init__(self, path: str, files: ExternalFiles, padded: bool = False):
        self.path, self.files, self.padded = Path(path), files, padded
        self.nodes: list[onnx.NodeProto] = []
        self.node_count = 0  # of all nodes, those of branches included
        self.node_outputs: set[str] = set()
        self.initializers: dict[str, TensorProto] = {}
        self.inputs: list[dict] = []
        self.outputs: list[dict] = []

    def input(self, name: str, type_: str, shape: list, role: str, **more) -> str:
        """Declares an input, once. `more` goes into the manifest."""
        if all(known["name"] != name for known in self.inputs):
            self.inputs.append({"name": name, "role": role, "type": type_, "shape": shape, **more})
        return name

    def output(self, source: str, name: str, type_: str, shape: list, role: str, **more) -> None:
        """Declares the value `source` as an output. `more` goes into the manifest."""
        self.nodes.append(helper.make_node("Identity", [source], [name], name=f"output_{name}"))
        self.node_count += 1
        self.outputs.append({"name": name, "role": role, "type": type_, "shape": shape, **more})

    def tensor(self, name: str, values: Tensor | np.ndarray) -> str:
        """Adds a parameter and returns its name. In a graph, the same name means the same values."""
        if name in self.initializers:
            return name
        array = values.detach().numpy() if isinstance(values, Tensor) else values
        array = np.ascontiguousarray(array, np.int64 if array.dtype.kind == "i" else np.float32)
        if array.nbytes < INLINE_BYTES:
            self.initializers[name] = numpy_helper.from_array(array, name)
            return name
        file, offset = self.files.place(self.file_of(name), array)
        tensor = TensorProto(name=name, data_type=TYPES[str(array.dtype)], dims=array.shape)
        tensor.data_location = TensorProto.EXTERNAL
        location = Path(file).relative_to(self.path.parent).as_posix()
        for key, value in (("location", location), ("offset", offset), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self.initializers[name] = tensor
        return name

    def file_of(self, name: str) -> str:
        """Returns the file for a new tensor."""
        if self.path.parent != Path():
            return self.path.with_suffix(".bin").as_posix()
        return POOL if name.startswith("pool_") else WEIGHTS

    def linear(self, x: str, name: str, layer: nn.Linear) -> str:
        """Adds a linear layer: [R, in] -> [R, out]."""
        bias = [] if layer.bias is None else [self.tensor(f"{name}_bias", layer.bias)]
        return self.add("Gemm", x, self.tensor(f"{name}_weight", layer.weight.T), *bias)

    def number(self, value: float) -> str:
        """Adds a float32 scalar and returns its name."""
        return self.tensor(f"number_{value}", np.array(value, np.float32))

    def constant(self, *values: int) -> str:
        """Adds an int64 vector, a shape or axes, and returns its name."""
        name = "shape_" + "_".join(str(value) for value in values)
        if name in self.node_outputs:  # a Shape node has this name
            name += "_value"
        self.initializers[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes):
        """Adds a node. Returns the name of its output, or the names if it has several."""
        name = f"{op.lower()}_{self.node_count}"
        if name in self.initializers:
            name += "_node"
        names = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self.node_outputs.update(names)
        self.nodes.append(helper.make_node(op, list(inputs), names, name=name, **attributes))
        self.node_count += 1
        return name if outputs == 1 else names

    def choose(self, condition: str, then: Branch, otherwise: Branch, types: list[str]) -> list[str]:
        """Adds a node that runs one of two branches. Returns the names of its outputs, of these types.

        A branch is a function that adds nodes to this graph. It returns the names of its values.
        """
        branches = {}
        for side, branch in (("then_branch", then), ("else_branch", otherwise)):
            around, self.nodes = self.nodes, []
            values = branch()
            infos = [helper.make_tensor_value_info(value, TYPES[type_], None) for value, type_ in zip(values, types)]
            branches[side] = helper.make_graph(self.nodes, f"{side}_{self.node_count}", [], infos)
            self.nodes = around
        return self.add("If", condition, outputs=len(types), **branches)

    def describe(self) -> dict:
        """Returns the graph's entry in the manifest."""
        return {"file": self.path.as_posix(), "inputs": self.inputs, "outputs": self.outputs}

    def write(self, folder: Path) -> None:
        """Writes the graph into the bundle's folder. The caller writes the external files."""
        (folder / self.path).parent.mkdir(exist_ok=True)
        (folder / self.path).write_bytes(self.proto().SerializeToString(deterministic=True))

    def proto(self) -> onnx.ModelProto:
        """Returns the graph as a model."""
        inputs, outputs = (
            [helper.make_tensor_value_info(x["name"], TYPES[x["type"]], x["shape"]) for x in part]
            for part in (self.inputs, self.outputs)
        )
        graph = helper.make_graph(self.nodes, self.path.stem, inputs, outputs, list(self.initializers.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        if any(node.domain == ORT_DOMAIN for node in self.nodes):
            opsets.append(helper.make_opsetid(ORT_DOMAIN, 1))
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        model.producer_name = "collectivekv"
        return model
