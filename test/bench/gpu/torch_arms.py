"""Times the arms of the benchmark on a GPU in PyTorch: the ceiling of what a runtime can reach with such kernels.

Needs torch and numpy alone. Reads a JSON object from stdin, and prints one: torch.ts has both. A time is from histories
in pinned host memory, or on the device for a resident arm, to scores in host memory.

Shapes: B users, C candidates of each, N positions, E embedding, D = d_model, H heads, M pool rows.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SEED = 1
LEAST_RUNS = 3
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-3}
MAX_HISTORY_BYTES = 6e9
Run = Callable[[], Tensor]  # returns scores [B, C] in host memory


class Model:
    """The weights that training/bench_gpu.py wrote, on a device."""

    def __init__(self, folder: Path, device: str):
        about = json.loads((folder / "about.json").read_text())
        content = np.fromfile(folder / "arrays.bin", np.float32)
        self.device = torch.device(device)
        self.heads, self.slots = about["sizes"]["heads"], about["sizes"]["slots"]
        self.repeats = about["sizes"]["repeats"]
        self.at = {
            name: torch.from_numpy(content[x["offset"] // 4 :][: int(np.prod(x["shape"]))].reshape(x["shape"])).to(
                device
            )
            for name, x in about["arrays"].items()
        }
        self.key = torch.cat([self.at["pool_key"], self.at["null_key"][None]])  # [M + 1, D]
        self.value = torch.cat([self.at["pool_value"], self.at["null_value"][None]])

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.at[f"{name}_weight"], self.at[f"{name}_bias"])

    def by_head(self, x: Tensor) -> Tensor:
        """[..., R, D] -> [..., H, R, D/H]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

    def query(self, item: Tensor) -> Tensor:
        return self.by_head(self.linear("query", item))  # [B, H, C, D/H]

    def scores(self, item: Tensor, attended: Tensor) -> Tensor:
        """Item embeddings [B, C, E] and attention's output [B, H, C, D/H] -> [B, C]."""
        attended = self.linear("out", attended.transpose(1, 2).flatten(2).float())
        x = F.relu(self.linear("mix", torch.cat([attended, attended * item, item], -1)))
        return torch.sigmoid(self.linear("score", F.relu(self.linear("deep", x)))).squeeze(-1)


@dataclass
class Batch:
    """Pool rows of positions [B, N] and indices of candidates [B, C], in host memory."""

    routes: Tensor
    items: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        return *self.routes.shape, self.items.shape[1]


def draw(model: Model, users: int, positions: int, candidates: int) -> Batch:
    random = torch.Generator().manual_seed(SEED)
    routes = torch.randint(model.slots, (users, positions), generator=random)
    return Batch(routes, torch.randint(1, len(model.at["item"]), (users, candidates), generator=random))


def pinned(model: Model, x: Tensor) -> Tensor:
    return x.pin_memory() if model.device.type == "cuda" else x


def attended_rows(model: Model, item: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attends to keys and values [B, N + 1, D] in their type; the last is the null position."""
    query = model.query(item).to(key.dtype)
    return model.scores(item, F.scaled_dot_product_attention(query, model.by_head(key), model.by_head(value)))


def full(model: Model, batch: Batch, type_: torch.dtype, resident: bool) -> Run:
    rows = F.pad(batch.routes, (0, 1), value=model.slots)
    key, value = (table.cpu().to(type_)[rows] for table in (model.key, model.value))
    if resident:
        key, value = key.to(model.device), value.to(model.device)
    else:
        key, value = pinned(model, key), pinned(model, value)
    items = pinned(model, batch.items)

    def run() -> Tensor:
        item = model.at["item"][items.to(model.device, non_blocking=True)]
        on_device = (x.to(model.device, non_blocking=True) for x in (key, value))
        return attended_rows(model, item, *on_device).cpu()

    return run


def gathered(model: Model, batch: Batch, type_: torch.dtype) -> Run:
    """The pool has each row `repeats` times, so that it is as large as a real one."""
    place = torch.arange(batch.routes.numel()).view_as(batch.routes) % model.repeats
    routes = pinned(model, (batch.routes + model.slots * place).to(torch.int16))  # two bytes a position
    null = torch.full((len(routes), 1), model.slots * model.repeats, device=model.device)
    items = pinned(model, batch.items)
    tables = [torch.cat([x[:-1].repeat(model.repeats, 1), x[-1:]]).to(type_) for x in (model.key, model.value)]

    def run() -> Tensor:
        item = model.at["item"][items.to(model.device, non_blocking=True)]
        rows = torch.cat([routes.to(model.device, non_blocking=True).long() & 0xFFFF, null], 1)
        return attended_rows(model, item, *(table[rows] for table in tables)).cpu()

    return run


def attended_slots(model: Model, items: Tensor, routes: Tensor) -> Tensor:
    """Attends to the pool's rows, each as often as routes [B, N] name it: a logit adds the logarithm of the count."""
    item = model.at["item"][items]
    ones = torch.ones((), device=routes.device).expand(routes.shape)
    counts = torch.zeros(len(routes), model.slots, device=routes.device).scatter_add_(1, routes.long(), ones)
    query = model.query(item)
    logits = query @ model.by_head(model.key).transpose(-1, -2) / query.shape[-1] ** 0.5  # [B, H, C, M + 1]
    logits = logits + F.pad(counts.log(), (0, 1))[:, None, None]
    return model.scores(item, logits.softmax(-1) @ model.by_head(model.value))


def collapsed(model: Model, batch: Batch) -> Run:
    routes = pinned(model, batch.routes.to(torch.uint8))  # a byte a position
    items = pinned(model, batch.items)

    def run() -> Tensor:
        parts = (x.to(model.device, non_blocking=True) for x in (items, routes))
        return attended_slots(model, *parts).cpu()

    return run


def collapsed_graph(model: Model, batch: Batch) -> Run:
    """The same as one CUDA graph, between two copies."""
    given = [pinned(model, x) for x in (batch.items, batch.routes.to(torch.uint8))]
    static = [x.to(model.device) for x in given]
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            attended_slots(model, *static)
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        scores = attended_slots(model, *static)
    host = torch.empty(scores.shape, pin_memory=True)

    def run() -> Tensor:
        for into, x in zip(static, given):
            into.copy_(x, non_blocking=True)
        graph.replay()
        host.copy_(scores, non_blocking=True)
        torch.cuda.synchronize()
        return host

    return run


def arms(model: Model) -> dict[str, tuple[torch.dtype, Callable[[Batch], Run]]]:
    found = {}
    for type_ in (torch.float32, torch.float16):
        name = str(type_).removeprefix("torch.")
        found[f"full_{name}"] = type_, lambda batch, t=type_: full(model, batch, t, resident=False)
        found[f"resident_{name}"] = type_, lambda batch, t=type_: full(model, batch, t, resident=True)
        found[f"gathered_{name}"] = type_, lambda batch, t=type_: gathered(model, batch, t)
    found["collapsed"] = torch.float32, lambda batch: collapsed(model, batch)
    if model.device.type == "cuda":
        found["collapsed, CUDA graph"] = torch.float32, lambda batch: collapsed_graph(model, batch)
    return found


def history_bytes(model: Model, name: str, type_: torch.dtype, batch: Batch) -> float:
    users, positions, _ = batch.shape
    return 2 * users * positions * model.key.shape[1] * type_.itemsize if name.startswith(("full", "resident")) else 0


def wanted_scores(model: Model, batch: Batch) -> Tensor:
    """Returns the scores of a batch, user by user, on the CPU."""
    return torch.cat([attended_slots(model, items[None], r[None]) for items, r in zip(batch.items, batch.routes)])


def timed(run: Run, repeats: dict) -> tuple[list[float], Tensor]:
    for _ in range(repeats["warmUps"]):
        run()
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < LEAST_RUNS or (
        len(times) < repeats["most"] and (time.perf_counter() - begun) * 1000 < repeats["budgetMs"]
    ):
        started = time.perf_counter()
        scores = run()
        times.append((time.perf_counter() - started) * 1000)
    return times, scores


def checked(name: str, type_: torch.dtype, scores: Tensor, wanted: Tensor) -> float:
    """Returns the largest difference. Raises ValueError above the tolerance."""
    difference = float((scores.double() - wanted.double()).abs().nan_to_num(nan=torch.inf).max())
    if difference > TOLERANCE[type_]:
        raise ValueError(f"PyTorch, {name}: scores differ by {difference}, the limit is {TOLERANCE[type_]}")
    return difference


@torch.inference_mode()
def main() -> None:
    asked = json.load(sys.stdin)
    folder = Path(asked["model"])
    model, on_cpu = Model(folder, asked["device"]), Model(folder, "cpu")
    shared = asked["checked"]
    batch = Batch(*(torch.tensor(shared[part]) for part in ("routes", "items")))
    for name, (type_, make) in arms(model).items():
        checked(name, type_, make(batch)(), torch.tensor(shared["scores"]))
    rows, failed = [], []
    for shape in asked["shapes"]:
        batch = draw(model, shape["users"], shape["positions"], shape["candidates"])
        wanted = wanted_scores(on_cpu, batch)
        for name, (type_, make) in arms(model).items():
            if history_bytes(model, name, type_, batch) > MAX_HISTORY_BYTES:
                continue
            try:
                times, scores = timed(make(batch), asked["repeats"])
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                failed.append(f"PyTorch {name} {' '.join(map(str, shape.values()))} does not run: out of memory")
                continue
            difference = checked(name, type_, scores, wanted)
            rows.append(
                {"arm": name, **shape, "p50Ms": median(times), "longestMs": max(times), "difference": difference}
            )
    print(json.dumps({"torch": torch.__version__, "rows": rows, "failed": failed}))


if __name__ == "__main__":
    main()
