"""Unpacks text files, and cuts them into blocks of whole lines."""

import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from data.reading.errors import LogError
from data.reading.progress import Progress, Say

BLOCK_BYTES = 1 << 24  # unpacked text of a block
CHUNK_BYTES = 1 << 18  # packed bytes that are read at once, and most bytes that are unpacked at once
# Memory for unpacking; `xz -9` needs 65 MiB. packages/interaction-log/src/unpacked-bytes.ts has the same bound.
MOST_XZ_BYTES = 128 << 20
MOST_LINE_BYTES = 1 << 20
MAGIC = {"gz": b"\x1f\x8b", "xz": b"\xfd7zXZ\x00"}


def text_blocks(path: Path, say: Say) -> Iterator[bytes]:
    """Yields the text of a file in blocks of whole lines. The content tells whether it is packed, not the name.

    Raises LogError if the file is cut short or damaged, or if a line is too long.
    """
    check_file(path)
    progress = Progress(path, say)
    pieces: list[bytes] = []
    size = done = 0  # bytes of the pieces, and lines of the blocks before them
    try:
        with path.open("rb") as packed:
            for piece in unpacked(packed):
                pieces.append(piece)
                size += len(piece)
                if size >= BLOCK_BYTES:
                    text = b"".join(pieces)
                    cut = text.rfind(b"\n") + 1
                    if cut:
                        yield checked(path, text[:cut], done)
                        done += text.count(b"\n", 0, cut)
                    pieces, size = [text[cut:]], len(text) - cut
                    if size > MOST_LINE_BYTES:
                        raise too_long(path, done + 1)
                progress.at(packed.tell() / path.stat().st_size)
    except EOFError as error:
        text = b"".join(pieces)
        lines = done + text.count(b"\n")
        if lines > done:
            yield checked(path, text[: text.rfind(b"\n") + 1], done)  # a problem of its header comes first
        raise LogError(f"{path}: is cut short after line {lines}; fetch or pack it again") from error
    except (lzma.LZMAError, zlib.error) as error:
        if "Memory usage limit" in str(error):
            text = f"needs more than {MOST_XZ_BYTES >> 20} MiB of memory to unpack; pack it again with xz -9 or less"
            raise LogError(f"{path}: {text}") from error
        raise LogError(f"{path}: is damaged; fetch or pack it again") from error
    if size:
        yield checked(path, b"".join(pieces), done)


def unpacked(packed: BinaryIO) -> Iterator[bytes]:
    """Yields the bytes of a file, unpacked, at most CHUNK_BYTES at once, however small they were packed.

    Raises EOFError if the packed file ends too early.
    """
    head = packed.read(CHUNK_BYTES)
    kind = next((kind for kind, magic in MAGIC.items() if head.startswith(magic)), None)
    if kind is None:
        while head:
            yield head
            head = packed.read(CHUNK_BYTES)
        return
    while head:
        part = zlib.decompressobj(31) if kind == "gz" else lzma.LZMADecompressor(lzma.FORMAT_XZ, MOST_XZ_BYTES)
        while not part.eof:
            if not head:
                raise EOFError
            yield from pieces_of(part, head)
            head = part.unused_data if part.eof else b""
            head = head or packed.read(CHUNK_BYTES)
        if head.startswith(b"\0"):  # padding; else another part follows
            return


def pieces_of(part: "lzma.LZMADecompressor | zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    """Yields what some packed bytes give, at most CHUNK_BYTES at once."""
    piece = part.decompress(packed, CHUNK_BYTES)
    yield piece
    while len(piece) == CHUNK_BYTES and not part.eof:
        piece = part.decompress(getattr(part, "unconsumed_tail", b""), CHUNK_BYTES)
        yield piece


def checked(path: Path, block: bytes, done: int) -> bytes:
    """Returns the block. Raises LogError if one of its lines is too long. `done` is the number of lines before it."""
    window = MOST_LINE_BYTES // 2  # a longer line leaves one of these windows without a line end
    for start in range(0, len(block), window):
        if len(block) - start >= window and block.find(b"\n", start, start + window) < 0:
            begin, end = block.rfind(b"\n", 0, start) + 1, block.find(b"\n", start)
            if (len(block) if end < 0 else end) - begin > MOST_LINE_BYTES:
                raise too_long(path, done + block.count(b"\n", 0, start) + 1)
    return block


def too_long(path: Path, line: int) -> LogError:
    """Returns the error for a line that is too long."""
    return LogError(
        f"{path}, line {line}: has more than {MOST_LINE_BYTES:,} bytes; is it a log with one interaction a line?"
    )


def check_file(path: Path) -> None:
    """Raises LogError if the path is not a file with content."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LogError(f"{path}: does not exist; check the path") from error
    if path.is_dir():
        raise LogError(f"{path}: is a folder; give one file")
    if not path.is_file():
        raise LogError(f"{path}: is not a file on a disk; a log is read twice, so save it first")
    if found.st_size == 0:
        raise LogError(f"{path}: is empty; write it again")
