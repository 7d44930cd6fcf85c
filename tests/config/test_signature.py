from __future__ import annotations

import sys
from typing import Any, Literal

import pytest

from tftrain.config.importing import import_object, resolve, source_file
from tftrain.config.signature import OPAQUE_DEFAULT, REQUIRED, read_signature
from tftrain.runtime.errors import ImportPathError


def arguments(target):
    return {
        one.name: (one.hint, one.default)
        for one in read_signature(target).arguments
    }


def test_every_annotation_and_default_is_read(own_parts):
    assert arguments("mine:typed") == {
        "width": (int, REQUIRED),
        "rate": (float, 0.5),
        "bias": (bool, True),
        "mode": (Literal["soft", "hard"], "soft"),
        "label": (str, "a"),
        "depth": (int | None, None),
        "sizes": (list[int], [3, 3]),
        "pair": (tuple[int, float], [1, 0.5]),
        "table": (dict[str, int], {}),
        "anything": (Any, None),
        "guessed": (Any, 0.1),
        "activation": (Any, "relu"),
        "input_shape": (tuple, REQUIRED),
        "classes": (int, REQUIRED),
        "outputs": (int, REQUIRED),
    }
    assert [
        one.name
        for one in read_signature("mine:typed").arguments
        if one.keyword_only
    ] == [
        "input_shape",
        "classes",
        "outputs",
    ]
    assert (
        read_signature("mine:typed").summary
        == "Everything that can be annotated"
    )


@pytest.mark.parametrize(
    ("target", "kind", "names"),
    [
        ("mine:Base", "class", ["units"]),
        ("mine:Child", "class", ["units"]),
        ("mine:Grandchild", "class", ["units", "kernel_initializer"]),
        ("mine:decorated", "function", ["x", "slope"]),
        ("pack:Network", "class", ["width", "classes"]),
        ("pack:small", "function", ["width", "outputs"]),
        ("pack.inner:Net", "class", ["width", "classes"]),
        ("live:Record", "class", ["units", "rate", "sizes"]),
        ("live:Both", "class", ["units", "rate", "sizes"]),
        ("live:half", "function", ["x", "by", "shift"]),
        ("twice:network", "function", ["depth", "outputs"]),
        ("twice:Base", "class", ["rate"]),
        ("twice:Child", "class", ["units"]),
        ("twice:Again", "class", ["slope"]),
        ("twice:late", "function", ["by"]),
        ("twice:taken", "function", ["width", "outputs"]),
        ("rebound:shortened", "function", ["width", "depth"]),
        ("rebound:chosen", "function", ["depth"]),
        ("rebound:Patched", "class", ["rate"]),
    ],
)
def test_whose_constructor_it_is(own_parts, target, kind, names):
    found = read_signature(target)
    assert (
        found.target,
        found.kind,
        [one.name for one in found.arguments],
    ) == (
        target,
        kind,
        names,
    )


def test_the_source_is_read_without_an_import(own_parts):
    (
        read_signature("mine:typed"),
        read_signature("mine:Grandchild"),
        read_signature("mine:decorated"),
        read_signature("mine:odd_defaults"),
    )
    (
        read_signature("twice:network"),
        read_signature("twice:Again"),
        read_signature("twice:taken"),
    )
    assert [one.name for one in read_signature("twice:Layer").arguments][
        :2
    ] == [
        "units",
        "activation",
    ]
    assert not {"mine", "twice"} & set(sys.modules)


def test_a_default_that_is_no_plain_value_is_unread(own_parts):
    assert arguments("live:Record")["sizes"] == (list[int], OPAQUE_DEFAULT)


def test_types_that_yaml_does_not_have_are_not_checked(own_parts):
    assert arguments("mine:unknown_types") == {
        "path": (Any, REQUIRED),
        "callback": (Any, None),
    }


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a:B", "a:B"),
        ("a.b:C", "a.b:C"),
        ("a.b.C", "a.b:C"),
        ("a:B.c", "a:B.c"),
        ("café:Netz", "café:Netz"),
    ],
)
def test_a_dotted_path(path, target):
    assert resolve(path) == target


@pytest.mark.parametrize(
    "path",
    [
        "",
        ":",
        "a:",
        ":b",
        ".b",
        "a.",
        "a..b",
        "a:b:c",
        "a b:c",
        "1a:b",
        "a.py:b",
        "a/b:c",
    ],
)
def test_no_dotted_path(path):
    with pytest.raises(
        ImportPathError, match="no dotted path; expected module:name"
    ):
        resolve(path)


def test_loading_is_importing(own_parts):
    assert import_object("live:scaled")(3, by=2) == 6
    assert import_object("live:Record.__name__") == "Record"
    with pytest.raises(
        ImportPathError, match="'live' has no 'sclaed'; did you mean 'scaled'?"
    ):
        import_object("live:sclaed")
    with pytest.raises(RuntimeError, match="no luck"):
        import_object("raising:data")


def test_a_module_lies_deep_in_folders_that_are_no_packages(
    tmp_path, monkeypatch
):
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "outer" / "inner" / "deep.py").write_text(
        "def seven():\n    return 7\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert (
        source_file("outer.inner.deep")
        == tmp_path / "outer" / "inner" / "deep.py"
    )
    assert source_file("outer.inner.shallow") is None
    assert import_object("outer.inner.deep:seven")() == 7
