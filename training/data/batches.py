"""Cuts the sequences of users into blocks, and packs blocks of similar length into batches."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.history import Candidates, History
from data.log import Log


@dataclass
class Block:
    """Queries of one user, and the positions that they may see, as ranges of the log's columns."""

    begin: int  # positions
    end: int
    query_begin: int
    query_end: int


@dataclass
class Batch:
    """Blocks, padded to the same size."""

    history: History
    candidates: Candidates
    label: Tensor  # [B, C]
    chosen: Tensor  # [B, C] bool: queries to learn from or to score. Others are padding, or belong to the other split
    query: np.ndarray  # [B, C] index of each query in the log, -1 for padding


def cut_blocks(log: Log, chosen: np.ndarray, queries: int, context: int) -> list[Block]:
    """Returns blocks of at most `queries` chosen queries each.

    A block has the positions that its last query sees, from `context` positions before its first query on.
    """
    blocks = []
    for user in np.flatnonzero(
        np.add.reduceat(np.append(chosen, False), log.query_starts[:-1]) * np.diff(log.query_starts)
    ):
        mine = np.flatnonzero(chosen[log.query_starts[user] : log.query_starts[user + 1]]) + log.query_starts[user]
        for first in range(0, len(mine), queries):
            part = mine[first : first + queries]
            start = log.starts[user]
            begin = start + max(0, int(log.query_now[part[0]]) - context)
            blocks.append(Block(begin, int(start + log.query_now[part[-1]]), int(part[0]), int(part[-1]) + 1))
    return blocks


def batches(
    log: Log, chosen: np.ndarray, blocks: list[Block], cells: int, random: np.random.Generator | None, device: str
) -> Iterator[Batch]:
    """Yields batches of blocks: at most `cells` padded queries, and as many positions. `random` shuffles them."""
    for group in pack_blocks(blocks, cells, random):
        yield make_batch(log, chosen, [blocks[i] for i in group], device)


def pack_blocks(blocks: list[Block], cells: int, random: np.random.Generator | None) -> list[list[int]]:
    """Returns groups of blocks of similar length, as indices: one group for each batch."""
    size = np.array([max(b.end - b.begin, b.query_end - b.query_begin) for b in blocks])
    jitter = random.random(len(blocks)) * 16 if random else np.zeros(len(blocks))
    groups: list[list[int]] = []
    longest = 0
    for i in np.argsort(size + jitter, kind="stable"):
        longest = max(longest, int(size[i]))
        if not groups or longest * (len(groups[-1]) + 1) > cells:
            groups.append([])
            longest = int(size[i])
        groups[-1].append(int(i))
    if random:
        random.shuffle(groups)
    return groups


def make_batch(log: Log, chosen: np.ndarray, blocks: list[Block], device: str) -> Batch:
    """Returns the batch of these blocks. Positions are padded on the left, queries on the right."""
    n = max(b.end - b.begin for b in blocks)
    c = max(b.query_end - b.query_begin for b in blocks)
    position = np.full((len(blocks), n), -1)
    query = np.full((len(blocks), c), -1)
    now = np.zeros((len(blocks), c), np.int64)
    for i, b in enumerate(blocks):
        position[i, n - (b.end - b.begin) :] = np.arange(b.begin, b.end)
        query[i, : b.query_end - b.query_begin] = np.arange(b.query_begin, b.query_end)
        seen = log.query_now[b.query_begin : b.query_end]
        if len(seen):  # the positions of the last query end at n
            now[i, : len(seen)] = seen - seen[-1] + n

    def take(column: np.ndarray, index: np.ndarray) -> Tensor:
        if len(column) == 0:
            return torch.zeros((*index.shape, *column.shape[1:]), dtype=torch.from_numpy(column).dtype, device=device)
        return torch.from_numpy(column[index.clip(0)]).to(device)

    history = History(
        take(log.item, position),
        take(log.action, position),
        take(log.features, position),
        torch.from_numpy(position >= 0).to(device),
    )
    candidates = Candidates(
        take(log.query_item, query),
        take(log.query_features, query),
        take(log.query_context, query),
        torch.from_numpy(now).to(device),
    )
    learn = torch.from_numpy((query >= 0) & chosen[query.clip(0)]).to(device)
    return Batch(history, candidates, take(log.query_label, query), learn, query)
