"""Makes the graphs and bundles for the benchmark on a GPU, with random weights from one seed, in a minute.

    python training/bench_gpu.py --out DIR
    python training/bench_gpu.py --out DIR --resident 512x1000 --resident 64x10000
    python training/bench_gpu.py --tiny --out test/fixtures/gpu      # the fixture of the benchmark's own tests

All but hstu/ are one model of target attention, whose keys and values come from a pool. So all score the same.

arms/full_float32.onnx     reads keys and values of every position
arms/full_float16.onnx     the same in half precision
arms/gathered_*.onnx       reads a route for every position, and gathers keys and values from a pool
arms/resident_*_BxN.onnx   as full, but keys and values of B users with N positions are parameters, in resident.bin
pool/                      a bundle; rank_batch.onnx reads distinct pool rows and their counts
factored/                  a bundle; rank_batch.onnx reads cluster means and counts
hstu/                      a bundle with layers of HSTU; rank_kv.onnx reads keys and values, rank.onnx routes
arrays.bin, about.json     the weights and the pool as packed float32, and their places

Shapes: B users, C candidates of each, N positions, E embedding, D = d_model, M pool rows.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from onnx import TensorProto
from torch import Tensor

from bundle.export import Export, export_bundle
from bundle.graphs import check_graph
from bundle.scorer_graph import score_candidates
from conversion.factored import convert_factored
from models.compression import Compression
from models.config import ModelConfig
from models.graphs.builder import ORT_DOMAIN, TYPES, ExternalFiles, Graph
from models.ranker import Ranker
from testbed.random_models import ACTIONS, catalogue_log, random_full, random_history, random_model, sampled_model

GOLDEN_POSITIONS = 50
ROUTE_BASE = 256  # a route has two bytes, the low one first
HALF, SINGLE = "float16", "float32"
GRID = 64  # the weights of HSTU are multiples of 1/64: so they pack well
Rows = Callable[[Graph], tuple[str, str]]  # adds keys and values [B, N + 1, D]; the null position's are the last


@dataclass
class Sizes:
    d_model: int = 256
    heads: int = 8
    embedding: int = 64
    hidden: int = 128
    slots: int = 256
    repeats: int = 40  # the gathered arm's pool has the slots so many times: a pool of 10,240 rows that scores the same
    items: int = 2000
    positions: int = 10_000
    hstu_width: int = 512  # embedding and d_model, as in the published profile
    hstu_heads: int = 4
    hstu_layers: int = 5
    hstu_slots: int = 64
    hstu_positions: int = 1024
    seed: int = 1

    def target(self) -> ModelConfig:
        return ModelConfig(
            "target",
            self.items + 1,
            len(ACTIONS),
            embedding=self.embedding,
            d_model=self.d_model,
            heads=self.heads,
            hidden=self.hidden,
            max_positions=self.positions,
        )

    def hstu(self) -> ModelConfig:
        return ModelConfig(
            "hstu",
            self.items + 1,
            len(ACTIONS),
            embedding=self.hstu_width,
            d_model=self.hstu_width,
            heads=self.hstu_heads,
            layers=self.hstu_layers,
            hidden=self.hidden,
            max_positions=self.hstu_positions,
        )


TINY = Sizes(
    d_model=32,
    heads=4,
    embedding=16,
    hidden=16,
    slots=16,
    repeats=20,
    items=60,
    positions=50,
    hstu_width=16,
    hstu_heads=2,
    hstu_layers=2,
    hstu_slots=8,
    hstu_positions=50,
)
TINY_RESIDENT = [(1, 20), (3, 20)]


def make(sizes: Sizes, resident: list[tuple[int, int]], out: Path) -> None:
    """Writes everything into `out`. `resident`: users and positions of the graphs with keys and values inside."""
    full = random_full(sizes.target(), sizes.seed).eval()
    pool = sampled_model(full, Compression(slots=sizes.slots, user_width=0), sizes.seed)
    sample = random_history(full.config, 40, 100, sizes.seed)
    export(pool, out / "pool", sizes.positions)
    export(convert_factored(full, sample, sizes.seed, clusters=sizes.slots), out / "factored", sizes.positions)
    export(hstu_model(sizes), out / "hstu", sizes.hstu_positions)
    write_arms(pool, sizes, resident, out)
    write_arrays(pool, sizes, out)


def hstu_model(sizes: Sizes) -> Ranker:
    full = random_full(sizes.hstu(), sizes.seed).eval()
    with torch.no_grad():
        for parameter in full.parameters():
            parameter.copy_((parameter * GRID).round() / GRID)
    return random_model(full, Compression(slots=sizes.hstu_slots, user_width=0), sizes.seed)


def export(model: Ranker, folder: Path, positions: int) -> None:
    about = Export(
        f"bench-gpu-{folder.name}", "python training/bench_gpu.py --out DIR", {}, positions, GOLDEN_POSITIONS
    )
    print(f"{folder.name:10} {export_bundle(model, catalogue_log(model.config), folder, about)}", flush=True)


def write_arms(pool: Ranker, sizes: Sizes, resident: list[tuple[int, int]], out: Path) -> None:
    files = ExternalFiles()
    arms: dict[str, tuple[str, Rows]] = {}
    for type_ in (SINGLE, HALF):
        arms[f"full_{type_}"] = type_, fed_rows(sizes, type_)
        arms[f"gathered_{type_}"] = type_, gathered_rows(pool, sizes, type_)
        for users, positions in resident:
            arms[f"resident_{type_}_{users}x{positions}"] = type_, held_rows(users, positions + 1, sizes, type_)
    for name, (type_, rows) in arms.items():
        g = Graph(f"arms/{name}.onnx", files)
        write_arm(g, pool, rows, type_)
        g.write(out)
    for path, content in files.contents.items():
        (out / path).write_bytes(content)
    for name in arms:
        if not name.startswith("resident"):  # resident.bin is not there yet
            check_graph(out / "arms" / f"{name}.onnx")


def write_arm(g: Graph, model: Ranker, rows: Rows, type_: str) -> None:
    """Adds candidates [B, C] -> scores [B * C], with attention in `type_` over rows."""
    c, attention = model.config, model.attention
    candidate = g.input("candidate_item", "int64", ["users", "candidates_each"], "candidate_item")
    item = g.add("Gather", g.tensor("item_table", model.item.weight), g.add("Reshape", candidate, g.constant(-1)))
    query = g.linear(item, "query", attention.query)  # [B * C, D]
    query = g.add("Reshape", query, g.add("Concat", g.add("Shape", candidate), g.constant(c.d_model), axis=0))
    query = as_type(g, query, type_)
    attended = g.add("MultiHeadAttention", query, *rows(g), num_heads=c.heads, domain=ORT_DOMAIN)  # [B, C, D]
    attended = g.add("Reshape", as_type(g, attended, SINGLE, from_=type_), g.constant(-1, c.d_model))
    score_candidates(g, model.scorer, item, g.linear(attended, "out", attention.out), (None, None))


def as_type(g: Graph, x: str, type_: str, from_: str = SINGLE) -> str:
    return x if type_ == from_ else g.add("Cast", x, to=TYPES[type_])


def fed_rows(sizes: Sizes, type_: str) -> Rows:
    shape = ["users", "rows", sizes.d_model]
    return lambda g: tuple(g.input(part, type_, shape, part) for part in ("key", "value"))


def held_rows(users: int, rows: int, sizes: Sizes, type_: str) -> Rows:
    """Returns rows that are parameters. The benchmark writes their file: all keys, then all values."""
    size = users * rows * sizes.d_model * (2 if type_ == HALF else 4)

    def add(g: Graph) -> tuple[str, str]:
        for i, part in enumerate(("key", "value")):
            tensor = TensorProto(name=part, data_type=TYPES[type_], dims=(users, rows, sizes.d_model))
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "resident.bin"), ("offset", i * size), ("length", size)):
                tensor.external_data.add(key=key, value=str(value))
            g.initializers[part] = tensor
        return "key", "value"

    return add


def gathered_rows(pool: Ranker, sizes: Sizes, type_: str) -> Rows:
    def add(g: Graph) -> tuple[str, str]:
        route_bytes = g.input("route_bytes", "uint8", ["users", "positions", 2], "routes")
        places = g.tensor("route_places", torch.tensor([1.0, ROUTE_BASE]))
        routes = g.add("MatMul", g.add("Cast", route_bytes, to=TYPES[SINGLE]), places)  # [B, N]
        users = g.add("Shape", routes, start=0, end=1)
        last = g.add("Expand", g.number(sizes.slots * sizes.repeats), g.add("Concat", users, g.constant(1), axis=0))
        routes = g.add("Cast", g.add("Concat", routes, last, axis=1), to=TYPES["int64"])  # [B, N + 1]
        tables = (
            ("pool_key", pool.cache.pool_key, pool.attention.null_key),
            ("pool_value", pool.cache.pool_value, pool.attention.null_value),
        )
        return tuple(g.add("Gather", table(g, *x), routes) for x in tables)

    def table(g: Graph, name: str, rows: Tensor, null: Tensor) -> str:
        repeated = g.add("Tile", g.tensor(name, rows), g.constant(sizes.repeats, 1))
        return as_type(g, g.add("Concat", repeated, g.tensor(f"{name}_null", null[None]), axis=0), type_)

    return add


def write_arrays(pool: Ranker, sizes: Sizes, out: Path) -> None:
    """Writes arrays.bin and about.json."""
    drawn = random_history(pool.config, 1, sizes.slots, sizes.seed)  # as sampled_model draws the pool's rows
    arrays = {
        "item": pool.item.weight,
        "pool_embedding": pool.embed_history(drawn)[0],  # [M, E]
        "pool_key": pool.cache.pool_key,
        "pool_value": pool.cache.pool_value,
        "null_key": pool.attention.null_key,
        "null_value": pool.attention.null_value,
    }
    layers = {"query": pool.attention.query, "out": pool.attention.out}
    layers |= {name: getattr(pool.scorer, name) for name in ("mix", "deep", "score")}
    for name, layer in layers.items():
        arrays |= {f"{name}_weight": layer.weight, f"{name}_bias": layer.bias}
    content, places = bytearray(), {}
    for name, values in arrays.items():
        places[name] = {"offset": len(content), "shape": list(values.shape)}
        content += values.detach().numpy().tobytes()
    (out / "arrays.bin").write_bytes(content)
    (out / "about.json").write_text(json.dumps({"sizes": asdict(sizes), "arrays": places}, indent=1) + "\n")


def shape_of(text: str) -> tuple[int, int]:
    users, positions = text.split("x")
    return int(users), int(positions)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder for graphs and bundles")
    parser.add_argument(
        "--resident", type=shape_of, action="append", default=[], help="users x positions, as in 64x1000"
    )
    parser.add_argument("--tiny", action="store_true", help="small sizes, and the residents of a quick run")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)  # so that the bytes do not depend on the number of cores
    args.out.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        if args.tiny:
            make(TINY, TINY_RESIDENT, args.out)
        else:
            make(Sizes(), args.resident, args.out)


if __name__ == "__main__":
    main()
