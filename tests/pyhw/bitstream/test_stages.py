"""Stages of a build with fake tools: cache, resumption, crashes, full disks."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple

import pytest

from pyhw.bitstream.stages import Stage, Stuck, ToolError, run_stage
from pyhw.cache import under_way
from pyhw.tools import Tool

pytestmark = pytest.mark.usefixtures("own_cache")

#: Counts its runs beside the cache, and does what its arguments say.
FAKE = """
import os, pathlib, sys, time
runs = pathlib.Path(os.environ["PYHW_CACHE"]) / "runs"
runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
for word in sys.argv[1:]:
    if word.startswith("log="):
        pathlib.Path("log").write_text(word[4:] + chr(10))
    elif word.startswith("say="):
        print(word[4:])
    elif word.startswith("copy="):
        pathlib.Path("out").write_text(pathlib.Path(word[5:]).read_text().upper())
    elif word.startswith("wait="):
        pathlib.Path(word[5:]).touch(); time.sleep(60)
    elif word == "kill":
        os.kill(os.getpid(), 9)
    elif word.startswith("exit="):
        sys.exit(int(word[5:]))
"""


def stage(*arguments, **changes):
    tool = Tool(name="fake", command=(sys.executable, "-c", FAKE), version="1.0", origin="here")
    values = dict(name="pack", tool=tool, arguments=arguments, texts={"in": "text"}, files={},
                  outputs=["out"])
    return Stage(**values | changes)


def runs(own_cache):
    path = own_cache / "runs"
    return len(path.read_text()) if path.exists() else 0


def leftovers(own_cache):
    return [path.name for path in (own_cache / "build").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["out", "stage.json"])
def test_a_damaged_output_or_stamp_is_made_again(own_cache, tmp_path, name):
    first = run_stage(stage("copy=in"), tmp_path / "log")
    whole = first.path(name).read_bytes()
    first.path(name).write_bytes(whole[:-1])
    again = run_stage(stage("copy=in"), tmp_path / "log")
    assert (again.cached, runs(own_cache)) == (False, 2)
    assert again.path("out").read_text() == "TEXT"


def test_folders_of_killed_builds_are_removed(own_cache, tmp_path):
    run_stage(stage("copy=in"), tmp_path / "log")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with under_way(own_cache / "build") as made:
        alive = made.name
        left = own_cache / "build" / alive.replace(f"-{os.getpid()}-", f"-{gone.pid}-")
        (left / "stage").mkdir(parents=True)
        run_stage(stage("copy=in", "say=2"), tmp_path / "log")
        assert leftovers(own_cache) == [alive]


def test_stage_is_done_once(own_cache, tmp_path):
    first = run_stage(stage("log=Info: hello", "copy=in"), tmp_path / "log")
    second = run_stage(stage("log=Info: hello", "copy=in"), tmp_path / "log")
    assert first.path("out").read_text() == second.path("out").read_text() == "TEXT"
    assert (first.cached, second.cached) == (False, True)
    assert first.log.read_text() == "Info: hello\n"
    assert runs(own_cache) == 1
    assert first.seconds == second.seconds
    assert leftovers(own_cache) == []


@pytest.mark.parametrize("changes", [
    dict(texts={"in": "other"}), dict(arguments=("copy=in", "say=more")), dict(after=["key"]),
    dict(tool=Tool(name="fake", command=(sys.executable, "-c", FAKE), version="2", origin="")),
])  # fmt: skip
def test_whatever_a_stage_depends_on_makes_it_anew(own_cache, tmp_path, changes):
    run_stage(stage("copy=in"), tmp_path / "log")
    assert not run_stage(stage("copy=in", **changes), tmp_path / "log").cached
    assert runs(own_cache) == 2


def test_outputs_of_one_stage_are_inputs_of_the_next(tmp_path):
    first = run_stage(stage("copy=in"), tmp_path / "log")
    second = run_stage(stage("copy=before", files={"before": first.path("out")},
                             after=[first.key], texts={}), tmp_path / "log")
    assert second.path("out").read_text() == "TEXT"
    assert not second.path("before").exists()
    assert first.path("out").read_text() == "TEXT"


def test_damaged_entry_is_made_anew(own_cache, tmp_path):
    first = run_stage(stage("copy=in"), tmp_path / "log")
    first.path("out").unlink()
    again = run_stage(stage("copy=in"), tmp_path / "log")
    assert not again.cached
    assert again.path("out").read_text() == "TEXT"
    assert runs(own_cache) == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("log=ERROR: Unable to find it.", "exit=1"), "Unable to find it; its log is"),
        (("say=one", "say=two", "exit=3"), r"exit status 3; last lines: one \| two"),
        (("kill",), "ended by SIGKILL; last lines: "),
        (("say=fine",), "it wrote no out; last lines: fine"),
    ],
)
def test_failing_tool_is_one_line_with_its_reason_and_log(own_cache, tmp_path, arguments, reason):
    log = tmp_path / "out" / "logs" / "pack.log"
    with pytest.raises(ToolError, match=f"fake failed in pack: {reason}") as caught:
        run_stage(stage(*arguments), log)
    assert "\n" not in str(caught.value)
    assert str(log) in str(caught.value)
    said = arguments[0].partition("=")[2]
    assert said in log.read_text()
    assert leftovers(own_cache) == []
    with pytest.raises(ToolError):  # a failure is not kept
        run_stage(stage(*arguments), log)
    assert runs(own_cache) == 2


def test_full_disk_is_named(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 30, 1 << 30, 0))
    with pytest.raises(ToolError, match=r"the disk of \S+ is full \(0 MB free\).*PYHW_CACHE"):
        run_stage(stage("log=ERROR: write failed", "exit=1"), tmp_path / "log")


def test_interruption_ends_the_tool_and_leaves_nothing(own_cache, tmp_path):
    going = tmp_path / "going"

    def interrupt():
        while not going.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_stage(stage(f"wait={going}"), tmp_path / "log")
    thread.join()
    assert time.monotonic() - started < 30
    assert leftovers(own_cache) == []


def test_tool_that_goes_in_circles_is_ended(own_cache, tmp_path):
    log = tmp_path / "logs" / "pack.log"
    # The tool says that it is stuck, and then sleeps for a minute.
    slow = FAKE.replace('elif word == "kill":', 'elif word == "sleep":\n        time.sleep(60)\n'
                        '    elif word == "kill":')
    tool = Tool(name="fake", command=(sys.executable, "-c", slow), version="1", origin="")
    started = time.monotonic()
    for kept in (False, True):
        with pytest.raises(
                Stuck, match="fake makes no progress in pack and was ended; its log is") as caught:
            run_stage(stage("log=Info: round and round", "sleep", tool=tool,
                            watch=lambda: lambda line: "round" in line), log)
        assert time.monotonic() - started < 30
        assert log.read_text() == "Info: round and round\n"
        assert leftovers(own_cache) == []
        # It would go in circles again: that is kept as well.
        assert runs(own_cache) == 1
        assert caught.value.given_up.name == "pack given up"
        assert caught.value.given_up.cached == kept
        log.unlink()


def test_recursion_that_is_too_deep_is_kept(own_cache, tmp_path):
    log = tmp_path / "pack.log"
    for _ in range(2):
        with pytest.raises(Stuck, match=f"fake ended with call stack exhausted in pack; its log is "
                                        f"{log}"):
            run_stage(stage("log=Executing ABC9", "say=wasm trap: call stack exhausted", "exit=1"),
                      log)
    assert runs(own_cache) == 1


def test_progress_shows_what_the_log_says(tmp_path):
    said = []
    slow = FAKE.replace('print(word[4:])', 'time.sleep(0.6)')
    tool = Tool(name="fake", command=(sys.executable, "-c", slow), version="1", origin="")
    run_stage(stage("log=Info: Routing globals", "say=x", "copy=in", tool=tool), tmp_path / "log",
              said.append)
    assert "pack: Routing globals" in said
