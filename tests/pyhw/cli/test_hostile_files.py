"""Mutated files of every kind end in one line; `bench.hostile_files` tries as many as one likes."""

from pathlib import Path

import pytest

import pyhw
from bench import hostile_files
from pyhw.cli.commands import LONGEST, say
from pyhw.cli.main import main

KINDS = ("graph", "program", "checkpoint", "import", "configuration", "images", "results", "random")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return hostile_files.kinds(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize("name", KINDS)
def test_mutated_files_end_in_one_line(kinds, name, tmp_path):
    assert tuple(kinds) == KINDS
    assert hostile_files.attack(name, kinds[name], 6, 0, tmp_path) == 0


@pytest.mark.parametrize("name", KINDS)
def test_mutations_differ_and_come_again_from_their_seed(kinds, name):
    def made(seed):
        kind = kinds[name]
        return kind.mutate(kind.sound, hostile_files.random.Random(f"{name} {seed}"))

    assert len({made(seed) for seed in range(20)}) > 10
    assert made(3) == made(3)


@pytest.mark.parametrize(("ends", "words"), [
    (KeyError("x"), "traceback: "),
    (hostile_files.TooLong(), "ran longer than"),
    (0, ""),
])  # fmt: skip
def test_what_goes_wrong_is_noticed(monkeypatch, ends, words):
    def command(arguments):
        if isinstance(ends, hostile_files.TooLong):
            raise ends
        if isinstance(ends, Exception):
            print("Traceback (most recent call last):\nKeyError\n", file=hostile_files.sys.stderr)
            return 1
        return ends

    monkeypatch.setattr(hostile_files, "main", command)
    assert hostile_files.fault(["info", "x"]).startswith(words)
    assert bool(hostile_files.fault(["info", "x"])) is bool(words)


def test_no_line_is_longer_than_300_characters(capsys):
    say("error: " + "long " * 100 + "and what to do")
    line = capsys.readouterr().err.rstrip("\n")
    assert len(line) <= LONGEST
    assert line.startswith("error: long")
    assert line.endswith("and what to do")


def test_random_bytes_are_no_checkpoint_of_anybody(tmp_path, capsys):
    (tmp_path / "x.pth").write_bytes(bytes(range(256)) * 9)
    command = ["import", str(tmp_path / "x.pth"), "--from", "addernet", "--model", "resnet20"]
    assert main([*command, "--out", str(tmp_path / "y.pt")]) == 1
    assert "x.pth" in capsys.readouterr().err


def test_a_loop_of_links_is_one_line(tmp_path, capsys):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for command in (["info"], ["compile"], ["quantize"], ["fit"], ["profile"], ["infer"],
                    ["simulate"]):  # fmt: skip
        assert main([*command, str(tmp_path / "a")]) == 1
        assert capsys.readouterr().err.count("\n") == 1


MANY, MORE = str(10**12), str(10**30)
GRAPH = str(Path(pyhw.__file__).parent / "models" / "lenet1_adder_mnist.pyhw")


@pytest.mark.parametrize("arguments", [
    ["simulate", GRAPH, "--images", MANY, "--data", "random"],
    ["simulate", GRAPH, "--images", MORE, "--data", "smooth"],
    ["simulate", GRAPH, "--batch", MANY],
    ["compile", GRAPH, "--batch", MORE],
    ["example", "resnet8-adder", "--seed", MORE],
    ["generate", "--interface", "serial", "--divisor", MORE],
    ["generate", "--set", f"groups={MANY}"],
    ["build", GRAPH, "--baud", MORE],
    ["train", "lenet1", "--batch", MANY],
], ids=lambda words: "-".join(words[:1] + words[2:3]))  # fmt: skip
def test_absurd_counts_are_one_line(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["PYHW_CACHE", "XDG_CACHE_HOME"])
def test_a_cache_in_a_loop_of_links_is_one_line(tmp_path, monkeypatch, capsys, name):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    monkeypatch.setenv(name, str(tmp_path / "a"))
    if name != "PYHW_CACHE":
        monkeypatch.delenv("PYHW_CACHE", raising=False)
    assert main(["doctor"]) in (0, 1)
    assert "Traceback" not in capsys.readouterr().err
