"""Files are written whole or not at all, and only where a file belongs."""

import os
from pathlib import Path

import pytest

from pyhw.errors import UserError
from pyhw.files import replacing, write_atomically
from pyhw.inputs import check_output, read_file


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "report.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_links_are_followed_and_permissions_kept(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o640


def test_new_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write_atomically(tmp_path / "new", "text")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_what_is_no_file_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(OSError, match="it is"), replacing(path):
            pass
        with pytest.raises(UserError, match=r"cannot write .*: it is"):
            check_output(path)
    with pytest.raises(UserError, match=r"cannot read .*pipe: it is no ordinary file"):
        read_file(pipe, Path.read_bytes)
    assert pipe.is_fifo()


def test_files_of_another_kind_are_not_replaced(tmp_path):
    program = tmp_path / "net.pyhwprog"
    program.write_bytes(b"pyhwprog")
    check_output(program, "program")
    with pytest.raises(UserError, match="is a program: move it"):
        check_output(program, "graph")
    (tmp_path / "notes").write_text("mine")
    check_output(tmp_path / "notes", "graph")
    check_output(tmp_path / "new" / "folder" / "x.v")


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is no folder that can be written"):
        check_output(tmp_path / "file" / "x.v")
