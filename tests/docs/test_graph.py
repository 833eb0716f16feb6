import re
from dataclasses import fields

import pytest

from pyhw.graph.file import MAX_DIRECTORY, MAX_FILE, MAX_JSON, MAX_MEMBERS
from pyhw.graph.ops import Conv, Post, Step
from pyhw.graph.ops.base import STORED
from pyhw.graph.schema import record_fields
from tests.support import ROOT

DOCS = ROOT / "docs"


@pytest.mark.parametrize("page", ["numerics.md", "transformers.md", "files.md"])
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), {})


def test_the_file_page_names_every_operation_and_limit():
    text = (DOCS / "files.md").read_text()
    assert all(f"`{kind}`" in text for kind in STORED)
    assert (MAX_FILE, MAX_JSON, MAX_MEMBERS, MAX_DIRECTORY) == (2**27, 2**24, 16384, 2**21)


def test_files_hold_every_field_of_every_record():
    for kind in (*STORED.values(), Post, Step):
        known = [field.name for field in fields(kind)]
        if kind is Conv:
            known.remove("prototype")  # makes it a masked_conv
        assert list(record_fields(kind)) == known
