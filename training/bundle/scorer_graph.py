"""Graph nodes of the scorer. Shapes as in graphs.py."""

from models.graphs.builder import Graph
from models.graphs.embed import feature_inputs, features
from models.ranker import Scorer

Declared = tuple[str | None, str | None]  # features of the candidates [C, any] and of the request [1, any]


def declare_features(g: Graph, scorer: Scorer) -> Declared:
    """Declares the inputs of the candidates' and the request's features, and scales these. None: there are none."""
    c = scorer.config
    found = []
    for wanted, rows, role in (
        (c.candidate_features, "candidates", "candidate_feature"),
        (c.context_features, 1, "context_feature"),
    ):
        found.append(features(g, wanted, feature_inputs(g, wanted, rows, role)) if wanted else None)
    return found[0], found[1]


def score_candidates(g: Graph, scorer: Scorer, item: str, attended: str, given: Declared) -> None:
    """Declares the output `scores`: probabilities, from item embeddings and attention's output, each [C, E]."""
    hidden = g.add("Relu", write_mix(g, scorer, item, attended, given))  # [C, hidden]
    hidden = g.add("Relu", g.linear(hidden, "deep", scorer.deep))
    score = g.add("Sigmoid", g.linear(hidden, "score", scorer.score))  # [C, 1]
    g.output(g.add("Reshape", score, g.constant(-1)), "scores", "float32", ["candidates"], "scores")


def write_mix(g: Graph, scorer: Scorer, item: str, attended: str, given: Declared) -> str:
    """Adds the scorer's first layer, before its ReLU: [C, hidden]."""
    c = scorer.config
    own, context = given
    of_context = sum(f.width for f in c.context_features)
    weight = scorer.mix.weight.T  # [inputs, hidden]
    mixed = [attended, g.add("Mul", attended, item), item, *([own] if own else [])]
    bias = g.tensor("mix_bias", scorer.mix.bias)
    if context:  # the same for every candidate
        bias = g.add("Gemm", context, g.tensor("mix_context_weight", weight[len(weight) - of_context :]), bias)
    weight = g.tensor("mix_weight", weight[: len(weight) - of_context])
    return g.add("Gemm", g.add("Concat", *mixed, axis=1), weight, bias)
