"""Seeded mutations of configs: of their text, of their bytes, and of the tree of their keys and values."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import yaml

UNKNOWN = "qwerty"  # a key that nothing takes
ODD_WORDS = (
    *(
        "",
        "{",
        "]",
        ":",
        "- ",
        "\t",
        "'",
        '"',
        "&a ",
        "*a",
        "null",
        "yes",
        "1e-3",
        ".nan",
        "-1",
        "[1, x]",
        "!!x ",
    ),
    *(
        "{name: adam}",
        "name:",
        "é",
        "\x00",
        "---\n",
        "#",
        "%",
        "? ",
        "\ud7ff",
        "1" * 400,
        "0x",
        "1e999",
        "mine:typed",
    ),
)
ODD_VALUES = (
    *(
        "null",
        "true",
        "''",
        "0",
        "-1",
        "1",
        "3",
        "0.5",
        "1.5",
        "-0.0",
        "1e-300",
        "1e300",
        "1e999",
        ".inf",
        "-.inf",
    ),
    *(
        ".nan",
        "99999999999999999999",
        "-9223372036854775809",
        "[]",
        "{}",
        "[[]]",
        "[1, 2]",
        "[null]",
        "{a: 1}",
        "auto",
    ),
    *(
        "'\\x00'",
        '"\\0"',
        '"\\e[31m"',
        "'日本語'",
        "'\u202e'",
        "'1'",
        "never",
        "2 epochs",
        "0 steps",
        "-1 epochs",
        "~",
    ),
    *(
        "../../etc/passwd",
        "/dev/zero",
        "os:system",
        "os.system",
        "a:b:c",
        "':'",
        ".",
        "x.py:y",
        "keras.Model",
        "2024-1-1",
    ),
    *(
        "{name: mlp}",
        "{name: null}",
        "{name: [adam]}",
        "[{name: global_norm, limit: -1}]",
        "adam",
        "accuracy",
        "iris",
    ),
)
ODD_TAGS = (
    "!!python/object:os.system",
    "!!python/name:os.system",
    "!!binary",
    "!!set",
    "!!int",
    "!x",
    "!<tag:x,1:y>",
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp037")


class Mutant(NamedTuple):
    """A mutated config; `unknown` is a key in it that must be refused, `told` whether the answer must name it."""

    kind: str
    data: bytes
    unknown: str | None = None
    told: bool = False


def mutant(texts: list[str], seed: int, number: int) -> Mutant:
    """The case of this number: the same for the same texts and the same seed."""
    draw = random.Random(f"{seed}/{number}")
    text, kind = draw.choice(texts), draw.choice(list(KINDS))
    made = KINDS[kind](draw, text)
    if isinstance(made, Mutant):
        return made._replace(kind=kind)
    return Mutant(
        kind,
        made
        if isinstance(made, bytes)
        else made.encode("utf-8", "surrogatepass"),
    )


def words(draw: random.Random, text: str) -> str:
    """Words deleted, doubled, shortened, swapped or replaced."""
    for _ in range(draw.randint(1, 4)):
        found = text.replace(",", " , ").split(" ")
        at, other = draw.randrange(len(found)), draw.randrange(len(found))
        change = draw.randrange(4)
        if change == 0:
            found[at] = draw.choice(ODD_WORDS)
        elif change == 1:
            found[at], found[other] = found[other], found[at]
        elif change == 2:
            found[at] = found[at][:1] + found[at][2:]
        else:
            found.insert(at, draw.choice([found[other], *ODD_WORDS]))
        text = " ".join(found)
    return text


def indentation(draw: random.Random, text: str) -> str:
    """Lines moved in or out, doubled, or ended in another way."""
    lines = text.splitlines()
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(lines))
        line = lines[at]
        lines[at] = draw.choice(
            [
                f"  {line}",
                f"\t{line}",
                line[1:],
                line.lstrip(),
                f"{line}\n{line}",
                f"{line}\r",
            ]
        )
    return "\n".join(lines)


def truncation(draw: random.Random, text: str) -> bytes:
    data = text.encode()
    return data[: draw.randrange(len(data))]


def bytes_changed(draw: random.Random, text: str) -> bytes:
    data = bytearray(text.encode())
    for _ in range(draw.randint(1, 3)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


def encoding(draw: random.Random, text: str) -> bytes:
    return (text + "# é\n").encode(draw.choice(ENCODINGS))


def size(draw: random.Random, text: str) -> str:
    """Something of the text a great many times."""
    many = draw.choice([100, 10_000, 200_000])
    line = draw.choice(text.splitlines())
    return draw.choice(
        [
            text * (many // 100),
            text + line * (many // 10),
            text + "[" * many,
            text + "a" * many + ": 1\n",
        ]
    )


def tag(draw: random.Random, text: str) -> str:
    root, nodes = _tree(text)
    draw.choice(
        [node for _, pair in nodes for node in pair]
    ).tag = "tag:yaml.org,2002:odd"
    return yaml.serialize(root, allow_unicode=True).replace(
        "!!odd", draw.choice(ODD_TAGS), 1
    )


def anchor(draw: random.Random, text: str) -> str:
    """A value in the place of another one too, or of one within itself."""
    root, nodes = _tree(text)
    mapping, pair = draw.choice(nodes)
    mapping.value[mapping.value.index(pair)] = (
        pair[0],
        draw.choice(nodes)[1][1],
    )
    return yaml.serialize(root, allow_unicode=True)


def value(draw: random.Random, text: str) -> str:
    root, nodes = _tree(text)
    for _ in range(draw.randint(1, 2)):
        mapping, pair = draw.choice(nodes)
        if pair in mapping.value:
            mapping.value[mapping.value.index(pair)] = (
                pair[0],
                yaml.compose(draw.choice(ODD_VALUES), yaml.SafeLoader),
            )
    return yaml.serialize(root, allow_unicode=True)


def removed(draw: random.Random, text: str) -> str:
    root, nodes = _tree(text)
    mapping, pair = draw.choice(nodes)
    mapping.value.remove(pair)
    return yaml.serialize(root, allow_unicode=True)


def moved(draw: random.Random, text: str) -> str:
    root, nodes = _tree(text)
    (mapping, pair), (other, _) = draw.choice(nodes), draw.choice(nodes)
    mapping.value.remove(pair)
    other.value.append(pair)
    return yaml.serialize(root, allow_unicode=True)


def doubled(draw: random.Random, text: str) -> Mutant:
    """A key given twice."""
    root, nodes = _tree(text)
    mapping, pair = draw.choice(nodes)
    mapping.value.append(
        draw.choice(
            [
                pair,
                (
                    pair[0],
                    yaml.compose(draw.choice(ODD_VALUES), yaml.SafeLoader),
                ),
            ]
        )
    )
    return _refused(root, pair[0].value)


def added(draw: random.Random, text: str) -> Mutant:
    """A key that nothing takes."""
    root, nodes = _tree(text)
    mapping, (_, node) = draw.choice(nodes)
    mapping.value.insert(
        draw.randint(0, len(mapping.value)),
        (yaml.ScalarNode("tag:yaml.org,2002:str", UNKNOWN), node),
    )
    return _refused(root, UNKNOWN)


def renamed(draw: random.Random, text: str) -> Mutant:
    """A key with a letter more, which makes it one that nothing takes."""
    root, nodes = _tree(text)
    _, (key, _) = draw.choice(nodes)
    known, at = key.value, draw.randint(0, len(key.value))
    key.value = f"{known[:at]}q{known[at:]}"
    made = _refused(root, key.value)
    return made._replace(
        told=known != "name"
    )  # without its name nothing can be said of a part


def _refused(root: yaml.Node, key: str) -> Mutant:
    return Mutant(
        "", yaml.serialize(root, allow_unicode=True).encode(), key, True
    )


def _tree(text: str) -> tuple[yaml.Node, list[tuple]]:
    """The nodes of a config, and every (mapping, its pair of key and value)."""
    root = yaml.compose(text, yaml.SafeLoader)
    found, left = [], [root]
    while left:
        node = left.pop()
        if isinstance(node, yaml.MappingNode):
            found += [(node, pair) for pair in node.value]
            left += [child for _, child in node.value]
        elif isinstance(node, yaml.SequenceNode):
            left += node.value
    return root, found


KINDS: dict[str, Callable] = {
    made.__name__: made
    for made in (
        words,
        indentation,
        truncation,
        bytes_changed,
        encoding,
        size,
        tag,
        anchor,
    )
    + (value, removed, moved, doubled, added, renamed)
}
