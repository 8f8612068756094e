"""Writes the four graphs of a CollectiveKV bundle with ONNX operators, node by node.

Shapes in the comments: C candidates, N positions, S distinct slots, B interactions, E embedding, D = dModel,
H heads, U user width. Big parameters go to external files that the graphs share; constants under 1 KB stay inside.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model import CollectiveKV

OPSET, IR_VERSION = 21, 10
INLINE_BYTES = 1024
ALIGNMENT = 64
WEIGHTS, POOL = "weights.bin", "pool.bin"
TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


@dataclass
class ExternalFile:
    """A file of tensors that several graphs read: name -> (offset, bytes)."""

    name: str
    content: bytearray = field(default_factory=bytearray)
    entries: dict[str, tuple[int, int]] = field(default_factory=dict)

    def place(self, name: str, array: np.ndarray) -> tuple[int, int]:
        if name not in self.entries:
            self.content.extend(bytes(-len(self.content) % ALIGNMENT))
            self.entries[name] = (len(self.content), array.nbytes)
            self.content.extend(array.tobytes())
        return self.entries[name]


class Graph:
    """Collects nodes; every method that adds one returns the name of its output."""

    def __init__(self, name: str, files: dict[str, ExternalFile], parameters: dict[str, np.ndarray]):
        self.name, self.files, self.parameters = name, files, parameters
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, type_: str, shape: list) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, TYPES[type_], shape))
        return name

    def output(self, source: str, name: str, type_: str, shape: list) -> None:
        self.nodes.append(helper.make_node("Identity", [source], [name], name=f"output_{name}"))
        self.outputs.append(helper.make_tensor_value_info(name, TYPES[type_], shape))

    def parameter(self, name: str) -> str:
        array = self.parameters[name]
        if name in self.initializers:
            return name
        if array.nbytes < INLINE_BYTES:
            self.initializers[name] = numpy_helper.from_array(array, name)
            return name
        file = self.files[POOL if name.startswith("pool_") else WEIGHTS]
        offset, size = file.place(name, array)
        tensor = TensorProto(name=name, data_type=TYPES[str(array.dtype)], dims=array.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", file.name), ("offset", offset), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        self.initializers[name] = tensor
        return name

    def constant(self, *values: int) -> str:
        name = "shape_" + "_".join(str(value) for value in values)
        self.initializers[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes):
        name = f"{op.lower()}_{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=name, **attributes))
        return name if outputs == 1 else names

    def write(self, folder: Path) -> None:
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, list(self.initializers.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        model.producer_name = "collectivekv"
        (folder / f"{self.name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def graph_parameters(model: CollectiveKV) -> dict[str, np.ndarray]:
    """The module's parameters in the layouts that the graphs multiply by, scales folded in."""
    p = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    heads, e, u = model.config.heads, model.config.embedding, model.config.user_width
    width = model.config.d_model // heads
    # The pool heads' query: one matrix per head, with a last column that is the constant 1. It meets the log counts,
    # which are a last row of the keys: one product instead of a product and a pass over [H, C, S].
    query = np.zeros((heads, e, width + 1), np.float32)
    query[:, :, :width] = p["query.weight"].reshape(heads, width, e).transpose(0, 2, 1) / math.sqrt(width)
    query_bias = np.ones((heads, 1, width + 1), np.float32)
    query_bias[:, 0, :width] = p["query.bias"].reshape(heads, width) / math.sqrt(width)
    parameters = {
        "pool_key": p["pool_key"],  # [slots, D]
        "pool_value": p["pool_value"],  # [slots, D]
        "item_table": p["item.weight"],  # [items, E]
        "action_table": p["action.weight"],  # [actions, E]
        "watch_weight": p["watch.weight"].T,  # [2, E]
        "router_weight": p["router.weight"].T,  # [E, slots]
        "router_bias": p["router.bias"],
        "user_kv_weight": np.concatenate([p["user_key.weight"], p["user_value.weight"]]).T,  # [E, 2U]
        "user_kv_bias": np.concatenate([p["user_key.bias"], p["user_value.bias"]]),
        "query_weight": query,  # [H, E, D/H + 1]
        "query_bias": query_bias,  # [H, 1, D/H + 1]
        "null_key": p["null_key"][None],  # [1, D]
        "null_value": p["null_value"][None],  # [1, D]
        "user_query_weight": p["user_query.weight"].T,  # [E, U]
        "user_query_bias": p["user_query.bias"],
        "user_null_key": p["user_null_key"].reshape(1, u),
        "user_null_value": p["user_null_value"].reshape(1, u),
        "out_weight": np.concatenate([p["out.weight"].T, p["user_out.weight"].T]),  # [D + U, E]
        "out_bias": p["out.bias"],
        "mix_weight": p["mix.weight"].T,  # [3E + 1, hidden]
        "mix_bias": p["mix.bias"],
        "mix_hour_weight": p["mix_hour.weight"].T,  # [2, hidden]
        "deep_weight": p["deep.weight"].T,  # [hidden, hidden / 2]
        "deep_bias": p["deep.bias"],
        "score_weight": p["score.weight"].T,  # [hidden / 2, 1]
        "score_bias": p["score.bias"],
        "zero": np.zeros(1, np.float32),
        "per_hour": np.array([2 * math.pi / 24], np.float32),
    }
    return {name: np.ascontiguousarray(array, np.float32) for name, array in parameters.items()}


def encode_graph(g: Graph, model: CollectiveKV) -> None:
    """Interactions -> routes and user KV, not yet quantised."""
    u = model.config.user_width
    item = g.add("Gather", g.parameter("item_table"), g.input("item_index", "int64", ["batch"]))  # [B, E]
    action = g.add("Gather", g.parameter("action_table"), g.input("action_index", "int64", ["batch"]))  # [B, E]
    watch = g.add("Reshape", g.input("watch_ratio", "float32", ["batch"]), g.constant(-1, 1))  # [B, 1]
    watch = g.add("Concat", watch, g.add("Mul", watch, watch), axis=1)  # [B, 2]
    s = g.add("Add", g.add("Add", item, action), g.add("MatMul", watch, g.parameter("watch_weight")))  # [B, E]
    routing = g.add("Gemm", s, g.parameter("router_weight"), g.parameter("router_bias"))  # [B, slots]
    route = g.add("ArgMax", routing, axis=1, keepdims=1)  # [B, 1]
    user = g.add("Tanh", g.add("Gemm", s, g.parameter("user_kv_weight"), g.parameter("user_kv_bias")))  # [B, 2U]
    key, value = g.add("Split", user, g.constant(u, u), outputs=2, axis=1)
    g.output(route, "route", "int64", ["batch", 1])
    g.output(key, "user_key", "float32", ["batch", u])
    g.output(value, "user_value", "float32", ["batch", u])


def rank_graph(g: Graph, model: CollectiveKV) -> None:
    """The pool heads attend over distinct slots with log counts, the user head over positions."""
    u = model.config.user_width

    def history() -> tuple[str, str, str, str, str]:
        slots = g.input("slots", "int64", ["slots"])
        counts = g.input("slot_counts", "float32", ["slots"])
        key = g.add("Gather", g.parameter("pool_key"), slots)  # [S, D]
        value = g.add("Gather", g.parameter("pool_value"), slots)  # [S, D]
        log_counts = g.add("Log", counts)  # [S]
        user_key = g.input("user_key", "float32", ["positions", u])
        return key, value, log_counts, user_key, g.input("user_value", "float32", ["positions", u])

    score_graph(g, model, history)


def rank_kv_graph(g: Graph, model: CollectiveKV) -> None:
    """The same over assembled keys and values, one row per position: pool row, then user dims."""
    d, u = model.config.d_model, model.config.user_width

    def history() -> tuple[str, str, str, str, str]:
        history_key = g.input("history_key", "float32", ["positions", d + u])
        history_value = g.input("history_value", "float32", ["positions", d + u])
        key, user_key = g.add("Split", history_key, g.constant(d, u), outputs=2, axis=1)
        value, user_value = g.add("Split", history_value, g.constant(d, u), outputs=2, axis=1)
        ones = g.add("Shape", history_key, start=0, end=1)  # [1] holding N
        return key, value, g.add("Expand", g.parameter("zero"), ones), user_key, user_value

    score_graph(g, model, history)


def score_graph(g: Graph, model: CollectiveKV, history: Callable[[], tuple[str, str, str, str, str]]) -> None:
    heads, d = model.config.heads, model.config.d_model
    candidate = g.input("candidate_item", "int64", ["candidates"])
    freshness = g.input("freshness", "float32", ["candidates"])
    hour = g.input("hour", "float32", [1])
    key, value, log_counts, user_key, user_value = history()
    item = g.add("Gather", g.parameter("item_table"), candidate)  # [C, E]

    # pool heads; S is N when the history comes assembled
    query = g.add("MatMul", item, g.parameter("query_weight"))  # [H, C, D/H + 1]
    query = g.add("Add", query, g.parameter("query_bias"))
    key = g.add("Concat", key, g.parameter("null_key"), axis=0)  # [S + 1, D]
    key = g.add(
        "Transpose", g.add("Reshape", key, g.constant(-1, heads, d // heads)), perm=[1, 2, 0]
    )  # [H, D/H, S + 1]
    log_counts = g.add("Concat", log_counts, g.parameter("zero"), axis=0)  # [S + 1]
    log_counts = g.add("Reshape", log_counts, g.constant(1, 1, -1))
    key = g.add("Concat", key, g.add("Expand", log_counts, g.constant(heads, 1, 1)), axis=1)  # [H, D/H + 1, S + 1]
    value = g.add("Concat", value, g.parameter("null_value"), axis=0)  # [S + 1, D]
    value = g.add("Reshape", value, g.constant(-1, heads, d // heads))
    value = g.add("Transpose", value, perm=[1, 0, 2])  # [H, S + 1, D/H]
    weights = g.add("Softmax", g.add("MatMul", query, key), axis=-1)  # [H, C, S + 1]
    pooled = g.add("Transpose", g.add("MatMul", weights, value), perm=[1, 0, 2])  # [C, H, D/H]
    pooled = g.add("Reshape", pooled, g.constant(-1, d))  # [C, D]

    # user head
    query = g.add("Gemm", item, g.parameter("user_query_weight"), g.parameter("user_query_bias"))  # [C, U]
    key = g.add("Concat", user_key, g.parameter("user_null_key"), axis=0)  # [N + 1, U]
    value = g.add("Concat", user_value, g.parameter("user_null_value"), axis=0)  # [N + 1, U]
    weights = g.add("Softmax", g.add("Gemm", query, key, transB=1), axis=-1)  # [C, N + 1]
    attended = g.add("Concat", pooled, g.add("MatMul", weights, value), axis=1)  # [C, D + U]

    # output projection and MLP
    attended = g.add("Gemm", attended, g.parameter("out_weight"), g.parameter("out_bias"))  # [C, E]
    freshness = g.add("Reshape", freshness, g.constant(-1, 1))  # [C, 1]
    mixed = g.add("Concat", attended, g.add("Mul", attended, item), item, freshness, axis=1)  # [C, 3E + 1]
    angle = g.add("Mul", hour, g.parameter("per_hour"))  # [1]
    angle = g.add("Reshape", g.add("Concat", g.add("Sin", angle), g.add("Cos", angle), axis=0), g.constant(1, 2))
    bias = g.add("Gemm", angle, g.parameter("mix_hour_weight"), g.parameter("mix_bias"))  # [1, hidden]
    hidden = g.add("Relu", g.add("Gemm", mixed, g.parameter("mix_weight"), bias))  # [C, hidden]
    hidden = g.add("Relu", g.add("Gemm", hidden, g.parameter("deep_weight"), g.parameter("deep_bias")))
    score = g.add("Sigmoid", g.add("Gemm", hidden, g.parameter("score_weight"), g.parameter("score_bias")))  # [C, 1]
    g.output(g.add("Reshape", score, g.constant(-1)), "scores", "float32", ["candidates"])


def gather_graph(g: Graph, model: CollectiveKV) -> None:
    """Slots -> pool rows."""
    for part in ("key", "value"):
        slots = g.input(f"{part}_slots", "int64", ["slots"])
        rows = g.add("Gather", g.parameter(f"pool_{part}"), slots)  # [S, D]
        g.output(rows, f"{part}_rows", "float32", ["slots", model.config.d_model])


GRAPHS = {"encode": encode_graph, "rank": rank_graph, "rank_kv": rank_kv_graph, "gather": gather_graph}


def write_graphs(model: CollectiveKV, folder: Path) -> None:
    """Writes encode.onnx, rank.onnx, rank_kv.onnx, gather.onnx and the two files of parameters they share."""
    parameters = graph_parameters(model)
    files = {name: ExternalFile(name) for name in (WEIGHTS, POOL)}
    for name, build in GRAPHS.items():
        graph = Graph(name, files, parameters)
        build(graph, model)
        graph.write(folder)
    for file in files.values():
        (folder / file.name).write_bytes(file.content)
