"""Checkpoint files: whole or not there at all."""

import os
from pathlib import Path

import torch

from errors import UserError


def write_checkpoint(content: dict, path: Path) -> None:
    """Replaces what was at `path` once all of the content is on disk."""
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_checkpoint(path: Path) -> dict:
    """
    Raises UserError where the file is damaged.
    """
    try:
        return torch.load(path, weights_only=True)
    except Exception as error:  # torch.load raises what its zip and pickle readers do
        raise UserError(f"checkpoint {path}: is damaged; --fresh begins anew, or delete the file") from error
