"""Digests."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tasks.core.digest import file_digest, sha256


def test_texts_bytes_and_pieces_have_the_digest_of_their_bytes(tmp_path: Path) -> None:
    whole = hashlib.sha256("größe".encode()).hexdigest()
    assert sha256("größe") == sha256("größe".encode()) == sha256(iter(["grö".encode(), "ße".encode()])) == whole
    assert sha256("größe", 6) == whole[:6]
    path = tmp_path / "f"
    path.write_bytes("größe".encode())
    assert file_digest(path) == whole
