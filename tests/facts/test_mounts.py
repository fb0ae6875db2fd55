"""Files that nodes mount from the state folder, after somebody has deleted it."""

from pathlib import Path

import pytest

from tasks.facts.mounts import EDAC, restored
from tests.given import node


@pytest.mark.parametrize("made_by_docker", [False, True])
def test_they_are_written_again_as_the_nodes_were_given_them(tmp_path: Path, made_by_docker: bool) -> None:
    file, folder, own = (tmp_path / "state" / name for name in ("meminfo-server", "edac", "mine"))
    if made_by_docker:  # it creates folders for mounts that do not exist
        file.mkdir(parents=True)
    binds = (f"{file}:/proc/meminfo:ro", f"{folder}:{EDAC}:ro", f"{own}:/mine")
    nodes = [node("server-0", memory=2 * 1024**3, binds=binds)]
    assert restored(nodes)
    assert file.read_text() == "MemTotal: 2097152 kB\nSwapTotal: 0 kB\n"
    assert folder.is_dir()
    assert not own.exists(), "what the user mounts is unknown"
    assert not restored(nodes)
