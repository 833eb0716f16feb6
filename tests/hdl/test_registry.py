"""Registries (`pyhw.hdl.registry`): a key is taken once, and what failed half-way is taken out."""

import pytest

from pyhw.hdl.registry import Registry


def test_a_key_is_taken_once():
    class Error(Exception):
        pass

    things = Registry("Thing", Error, {"a": 1})
    assert things.add("b", 2) == 2
    with pytest.raises(Error, match=r"^Thing 'b' is taken$"):
        things.add("b", 3)
    with pytest.raises(Error, match=r"^Thing 'a' is taken$"):
        things.free("c", "a")
    assert things == {"a": 1, "b": 2}
    classes = Registry("Part of")
    classes.add(int, 1)
    with pytest.raises(ValueError, match=r"^Part of int is taken$"):
        classes.add(int, 2)


def test_all_registries_return_to_what_was_saved():
    first, second = Registry("First"), Registry("Second", things={1: "one"})
    saved = Registry.saved()
    first.add("x", 1)
    second.add(2, "two")
    Registry.restore(saved)
    assert (first, second) == ({}, {1: "one"})
