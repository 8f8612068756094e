"""Serves a bundle as the services do, by its manifest alone and in numpy. The tests rank with it."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime

ELEMENT_BYTES = {"uint8": 1, "uint16": 2, "uint24": 3, "uint32": 4, "int8": 1, "float16": 2, "float32": 4}
Fields = dict[str, np.ndarray]  # a record's fields: routes [N], user dims [N, U], raw fields [N, 1]


class ServedBundle:
    def __init__(self, folder: Path):
        self.folder = folder
        self.manifest = json.loads((folder / "bundle.json").read_text())
        self.items = {id_: i for i, id_ in enumerate(json.loads((folder / "items.json").read_text())["ids"])}
        self.actions = {action: i for i, action in enumerate(self.manifest["actions"])}
        self.fields = {f["name"]: f for f in self.manifest["record"]["fields"]}

    @cache  # noqa: B019, the bundle of a test lives as long as the tests
    def session(self, graph: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(
            self.folder / self.manifest["graphs"][graph]["file"], options, providers=["CPUExecutionProvider"]
        )

    def run(self, graph: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        described = self.manifest["graphs"][graph]
        assert [x.name for x in self.session(graph).get_inputs()] == [x["name"] for x in described["inputs"]]
        names = [x["name"] for x in described["outputs"]]
        return dict(zip(names, self.session(graph).run(names, inputs)))

    def empty(self) -> Fields:
        return {
            name: np.zeros(0, np.int64) if f["kind"] == "route" else np.zeros((0, f["width"]), np.float32)
            for name, f in self.fields.items()
        }

    def encode(self, interactions: list[dict], history: Fields | None = None) -> Fields:
        """Returns the fields of interactions with `itemId`, `action` and `features`. They follow the history."""
        history = self.empty() if history is None else history
        defaults = {f["name"]: f["default"] for f in self.manifest["features"]["interaction"]}
        inputs = {}
        for x in self.manifest["graphs"]["encode"]["inputs"]:
            if x["role"] == "interaction_item":
                column = [self.items.get(one["itemId"], 0) for one in interactions]
            elif x["role"] == "interaction_action":
                column = [self.actions.get(one["action"], 0) for one in interactions]
            elif x["role"] == "interaction_feature":
                column = [one["features"].get(x["feature"], defaults[x["feature"]]) for one in interactions]
            else:
                column = history[x["field"]]
            inputs[x["name"]] = np.array(column, x["type"])
        outputs = self.run("encode", inputs)
        fields = {x["field"]: outputs[x["name"]] for x in self.manifest["graphs"]["encode"]["outputs"]}
        for name, f in self.fields.items():
            if f["kind"] == "raw":
                column = [one["features"].get(f["source"], defaults[f["source"]]) for one in interactions]
                fields[name] = np.array(column, np.float32)[:, None]
        assert set(fields) == set(self.fields)
        return {name: self.stored(self.fields[name], values) for name, values in fields.items()}

    def stored(self, field: dict, values: np.ndarray) -> np.ndarray:
        """Returns values of a field, through the record's type and back."""
        if field["kind"] == "route":
            assert values.min(initial=0) >= 0 and values.max(initial=0) < field["slots"]
            return values[:, 0].astype(np.int64)
        if field["type"] in ("float16", "float32"):
            return values.astype(field["type"]).astype(np.float32)
        scale = np.array(field["scale"], np.float32)
        return np.clip(np.rint(values / scale), -127, 127).astype(np.int8).astype(np.float32) * scale

    def row_bytes(self) -> int:
        return sum(ELEMENT_BYTES[f["type"]] * f["width"] for f in self.fields.values())

    def rank(self, fields: Fields, candidates: list[str], own: dict[str, list[float]], context: dict) -> np.ndarray:
        return self.answers("rank", self.record_input(fields), candidates, own, context)["scores"]

    def rank_batch(self, requests: list[tuple[Fields, list[str], dict, dict]]) -> np.ndarray:
        """Returns the scores of all users, [B, C], from what `rank` takes for each. Zeros fill the ends."""
        axes = {x["shape"][0]: x["name"] for x in self.manifest["graphs"]["rank"]["inputs"]}  # an input of each axis
        feeds = [self.feeds("rank", self.record_input(fields), *request) for fields, *request in requests]
        inputs = {}
        for x in self.manifest["graphs"]["rankBatch"]["inputs"]:
            if x["role"] == "row_count":
                inputs[x["name"]] = np.array([len(feed[axes[x["axis"]]]) for feed in feeds])
                continue
            values = [feed[x["name"]] for feed in feeds]
            shape = (len(values), max(map(len, values)), *values[0].shape[1:])
            inputs[x["name"]] = np.zeros(shape, x["type"])
            for row, value in zip(inputs[x["name"]], values):
                row[: len(value)] = value
        return self.run("rankBatch", inputs)["scores"]

    def explain(self, fields: Fields, candidates: list[str], own: dict, context: dict) -> dict[str, np.ndarray]:
        """Returns the outputs of the explain graph, by role; the attention of all heads is one array [C, H, N]."""
        answers = self.answers("explain", self.record_input(fields), candidates, own, context)
        outputs = self.manifest["graphs"]["explain"]["outputs"]
        found = {x["role"]: answers[x["name"]] for x in outputs}
        found["attention"] = np.concatenate([answers[x["name"]] for x in outputs if x["role"] == "attention"], 1)
        return found

    def record_input(self, fields: Fields):
        """Returns a function that fills an input from a record's fields."""

        def position_input(x: dict) -> np.ndarray:
            if "clustering" in x:
                return self.cluster_input(x, fields)
            values = fields[x["field"]]
            if x["role"] in ("routes", "user", "raw"):
                return values[-x["last"] :] if "last" in x else values
            slots, places, counts = np.unique(values, return_inverse=True, return_counts=True)
            return {"distinct_slots": slots, "slot_places": places, "slot_counts": counts}[x["role"]].astype(x["type"])

        return position_input

    def rank_kv(self, fields: Fields, candidates: list[str], own: dict[str, list[float]], context: dict) -> np.ndarray:
        """Scores by the rank_kv graph, with pool rows from the gather graph."""
        groups, rows = self.groups(), self.gathered(fields)

        def assembled(x: dict) -> np.ndarray:
            if "clustering" in x:
                return self.cluster_input(x, fields)
            if x["role"] == "raw":
                return fields[x["field"]]
            part = groups[x["group"]][x["role"]]
            columns = [rows[x["group"], x["role"]]] if "route" in part else []
            return np.concatenate(columns + ([fields[part["user"]]] if "user" in part else []), 1)

        return self.answers("rankKv", assembled, candidates, own, context)["scores"]

    def groups(self) -> dict[str, dict]:
        return {group["name"]: group for group in self.manifest["groups"]}

    def gathered(self, fields: Fields) -> dict[tuple[str, str], np.ndarray]:
        """Returns the pool row of every position, by group and part. No rows for a part without a route."""
        groups, gather = self.groups(), self.manifest["graphs"]["gather"]
        routes = {x["name"]: groups[x["group"]][x["part"]].get("route") for x in gather["inputs"]}
        slots = {name: fields[route] if route else np.zeros(0, np.int64) for name, route in routes.items()}
        outputs = self.run("gather", slots)
        return {(x["group"], x["part"]): outputs[x["name"]] for x in gather["outputs"]}

    def cluster_input(self, x: dict, fields: Fields) -> np.ndarray:
        """Returns counts or mean embeddings of clusters, or embeddings of positions: one position after the other."""
        clustering = next(found for found in self.manifest["clusterings"] if found["name"] == x["clustering"])
        rows = self.gathered(fields)
        cluster = np.zeros(len(fields[clustering["by"][0]["field"]]), np.int64)  # [N]
        for by in clustering["by"]:
            digit = fields[by["field"]]
            if "map" in by:
                type_ = "u1" if by["clusters"] <= 256 else "<u2"
                digit = np.frombuffer((self.folder / by["map"]).read_bytes(), type_)[digit]
            cluster = cluster * by["clusters"] + digit
        members: dict[int, list[np.ndarray]] = {}
        embeddings = []
        for i in range(len(cluster)):
            s = np.zeros(clustering["width"])
            for term in clustering["terms"]:
                row = rows[term["rows"]["group"], term["rows"]["part"]][i].astype(float)
                if "scale" in term:
                    row = row * (1 + rows[term["scale"]["rows"]["group"], term["scale"]["rows"]["part"]][i])
                s = s + row
            embeddings.append(s)
            members.setdefault(int(cluster[i]), []).append(s)
        if x["role"] == "position_embeddings":
            return np.array(embeddings[-x.get("last", 2**31) :]).reshape(-1, clustering["width"])
        if x["role"] == "cluster_places":
            return np.array([sorted(members).index(int(c)) for c in cluster], np.int64)
        if x["role"] == "cluster_counts":
            return np.array([len(members[c]) for c in sorted(members)])
        return np.array([np.mean(members[c], axis=0) for c in sorted(members)]).reshape(-1, clustering["width"])

    def answers(
        self, graph: str, position_input, candidates: list[str], own: dict, context: dict
    ) -> dict[str, np.ndarray]:
        """Returns the outputs of a graph over candidates."""
        return self.run(graph, self.feeds(graph, position_input, candidates, own, context))

    def feeds(self, graph: str, position_input, candidates: list[str], own: dict, context: dict) -> dict:
        """Returns the inputs of a graph over candidates."""
        features = self.manifest["features"]
        inputs = {}
        for x in self.manifest["graphs"][graph]["inputs"]:
            if x["role"] == "candidate_item":
                value = [self.items.get(id_, 0) for id_ in candidates]
            elif x["role"] == "candidate_feature":
                default = next(f["default"] for f in features["candidate"] if f["name"] == x["feature"])
                value = own.get(x["feature"], [default] * len(candidates))
            elif x["role"] == "context_feature":
                default = next(f["default"] for f in features["context"] if f["name"] == x["feature"])
                value = [context.get(x["feature"], default)]
            else:
                value = position_input(x)
            inputs[x["name"]] = np.array(value, x["type"])
        return inputs


def joined(*parts: Fields) -> Fields:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
