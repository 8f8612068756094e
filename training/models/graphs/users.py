"""Turns the graph of one user into the graph of a batch of users.

Every input, and every value that depends on one, gets an axis of users in front. Each node becomes the node, or the
few nodes, that do the same for each user. So a family writes its attention once. All users of a batch have the same
shapes, so a shape has no such axis. In the comments, B users.
"""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from models.graphs.builder import Graph

USERS = "users"
SAME = {"Abs", "Cast", "Cos", "Identity", "Log", "Relu", "Sigmoid", "Sin"}  # element by element
ALIGNED = {"Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "MatMul", "Max", "Min", "Mul"}
ALIGNED |= {"Expand", "Sub", "Where"}  # inputs are broadcast to the output's axes
AXIS = {"Softmax", "Split", "TopK"}  # the attribute `axis` counts from the front, or from the back
AXES = {"CumSum": 1, "ReduceMin": 1, "ReduceSum": 1, "Slice": 3, "Squeeze": 1, "Unsqueeze": 1}  # input with the axes


def of_users(single: Graph) -> Graph:
    """Returns the graph of a batch of users. Raises ValueError for a node that has no such form."""
    lifted = Lifted(single)
    for node in single.nodes:
        lifted.add(node)
    read = {name for node in lifted.g.nodes for name in node.input}
    lifted.g.initializers = {name: x for name, x in lifted.g.initializers.items() if name in read}
    return lifted.g


class Lifted:
    """The graph of a batch of users, as far as it is made."""

    def __init__(self, single: Graph):
        self.single = single
        self.g = Graph(str(single.path), single.files)
        self.g.initializers = dict(single.initializers)
        self.ranks = ranks_of(single)  # of the values of one user
        self.value: dict[str, str] = {}  # of one user -> of all users
        self.own: set[str] = set()  # values of one user that users have each for themselves
        for x in single.inputs:
            more = {key: x[key] for key in x if key not in ("name", "type", "shape", "role")}
            self.value[x["name"]] = self.g.input(x["name"], x["type"], [USERS, *x["shape"]], x["role"], **more)
            self.own.add(x["name"])

    def of(self, name: str) -> str:
        """Returns the value for all users."""
        return name if name in self.single.initializers else self.value[name]

    def numbers(self, name: str) -> list[int]:
        """Returns the elements of a constant, such as axes."""
        return numpy_helper.to_array(self.single.initializers[name]).reshape(-1).tolist()

    def aligned(self, name: str, rank: int) -> str:
        """Returns the value with so many axes behind that of users."""
        missing = rank - self.ranks[name]
        if name not in self.own or missing <= 0:
            return self.of(name)
        return self.g.add("Unsqueeze", self.of(name), self.g.constant(*range(1, missing + 1)))

    def for_each(self, name: str) -> str:
        """Returns the value with an axis of users, repeated if all users have the same."""
        if name in self.own:
            return self.of(name)
        users = self.g.add("Shape", self.single.inputs[0]["name"], start=0, end=1)
        shape = self.g.add("Concat", users, self.g.constant(*[1] * self.ranks[name]), axis=0)
        return self.g.add("Expand", self.of(name), shape)

    def add(self, node: NodeProto) -> None:
        """Adds what a node of one user does, for all users."""
        given = {x.name: helper.get_attribute_value(x) for x in node.attribute}
        own = any(name in self.own for name in node.input)
        if node.output[0] in (x["name"] for x in self.single.outputs):
            (x,) = (x for x in self.single.outputs if x["name"] == node.output[0])
            self.g.output(self.of(node.input[0]), x["name"], x["type"], [USERS, *x["shape"]], x["role"])
            return
        if node.op_type == "Shape":
            own, given = False, shifted_shape(given) if own else given
        write = self.rule(node.op_type) if own else copied
        values = write(self, node, given)
        for name, value in zip(node.output, [values] if isinstance(values, str) else values):
            self.value[name] = value
            if own:
                self.own.add(name)

    def rule(self, op: str) -> "Rule":
        if op in SAME:
            return copied
        if op in ALIGNED:
            return aligned
        if op in AXIS:
            return along_axis
        if op in AXES:
            return over_axes
        if op not in RULES:
            raise ValueError(f"{self.single.path}: {op} has no form for a batch of users; give it one in {__name__}")
        return RULES[op]


Rule = Callable[[Lifted, NodeProto, dict], str | list[str]]  # adds nodes; returns the outputs


def ranks_of(graph: Graph) -> dict[str, int]:
    """Returns the number of axes of every value of a graph."""
    found = onnx.shape_inference.infer_shapes(graph.proto(), strict_mode=True, data_prop=True).graph
    ranks = {x.name: len(x.type.tensor_type.shape.dim) for x in (*found.input, *found.value_info, *found.output)}
    return ranks | {name: len(x.dims) for name, x in graph.initializers.items()}


def behind(axis: int) -> int:
    """Returns the place of an axis behind that of users. Negative ones count from the back, and stay."""
    return axis + 1 if axis >= 0 else axis


def shifted_shape(given: dict) -> dict:
    return {key: behind(axis) for key, axis in ({"start": 0} | given).items()}


def copied(lift: Lifted, node: NodeProto, given: dict) -> str | list[str]:
    return lift.g.add(node.op_type, *map(lift.of, node.input), outputs=len(node.output), **given)


def aligned(lift: Lifted, node: NodeProto, given: dict) -> str:
    rank = lift.ranks[node.output[0]]
    return lift.g.add(node.op_type, *(lift.aligned(name, rank) for name in node.input), **given)


def along_axis(lift: Lifted, node: NodeProto, given: dict) -> str | list[str]:
    return copied(lift, node, given | {"axis": behind(given["axis"])})


def over_axes(lift: Lifted, node: NodeProto, given: dict) -> str:
    place = AXES[node.op_type]
    inputs = [lift.of(name) for name in node.input[:place]]
    if len(node.input) == place:  # over all axes of one user
        axes = lift.g.constant(*range(1, lift.ranks[node.input[0]] + 1))
    else:
        numbers = [behind(axis) for axis in lift.numbers(node.input[place])]
        scalar = lift.ranks[node.input[place]] == 0
        axes = lift.g.tensor(f"axis_{numbers[0]}", np.array(numbers[0])) if scalar else lift.g.constant(*numbers)
    return lift.g.add(node.op_type, *inputs, axes, *map(lift.of, node.input[place + 1 :]), **given)


def concat(lift: Lifted, node: NodeProto, given: dict) -> str:
    return lift.g.add("Concat", *map(lift.for_each, node.input), axis=behind(given["axis"]))


def gather(lift: Lifted, node: NodeProto, given: dict) -> str:
    """A table of all users, or each user's own rows: [B, S, ...] by [B, ...]."""
    table, index = node.input
    if table not in lift.own:
        return copied(lift, node, given)
    if given.get("axis", 0) != 0 or index not in lift.own:
        raise ValueError(f"{lift.single.path}: {node.name} gathers no rows of each user")
    index = lift.g.add("Unsqueeze", lift.of(index), lift.g.constant(-1))
    return lift.g.add("GatherND", lift.of(table), index, batch_dims=1)


def gemm(lift: Lifted, node: NodeProto, given: dict) -> str:
    left, right, *bias = node.input
    factor = lift.of(right)
    if given.get("transB"):
        factor = lift.g.add("Transpose", factor, perm=[0, 2, 1] if right in lift.own else [1, 0])
    product = lift.g.add("MatMul", lift.of(left), factor)
    if given.get("alpha", 1.0) != 1.0:
        product = lift.g.add("Mul", product, lift.g.number(given["alpha"]))
    return lift.g.add("Add", product, lift.aligned(bias[0], 2)) if bias else product


def pad(lift: Lifted, node: NodeProto, given: dict) -> str:
    pads = lift.numbers(node.input[1])
    rank = len(pads) // 2
    pads = lift.g.constant(0, *pads[:rank], 0, *pads[rank:])
    return lift.g.add("Pad", lift.of(node.input[0]), pads, *map(lift.of, node.input[2:]), **given)


def reshape(lift: Lifted, node: NodeProto, given: dict) -> str:
    return lift.g.add("Reshape", lift.of(node.input[0]), lift.g.constant(0, *lift.numbers(node.input[1])))


def transpose(lift: Lifted, node: NodeProto, given: dict) -> str:
    return lift.g.add("Transpose", lift.of(node.input[0]), perm=[0, *(axis + 1 for axis in given["perm"])])


RULES: dict[str, Rule] = {
    "Concat": concat,
    "Gather": gather,
    "Gemm": gemm,
    "Pad": pad,
    "Reshape": reshape,
    "Transpose": transpose,
}
