"""The rules of the house, held by reading the source: which way imports point, and how long things are."""

from __future__ import annotations

import ast
import graphlib
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tftrain"

# Each may only fall (or rise, where more is better) until it is at its goal.
MOST_ENTRIES = 12  # of the package's folder; the goal is 12
LONGEST_CHAIN = 10  # modules, each of which imports the next; the goal is 10
MOST_LINES = 400  # of a file; the goal is 400
MOST_BODY_LINES = 60  # of code in a function; the goal is 60
MOST_NODES = 8  # of the syntax tree for a line of code; the goal is 8
MOST_ONE_WORD = (
    0.35  # the share of functions whose name is one word; the goal is 0.4
)
MOST_VAGUE = 2  # vague words bound for 1000 lines of code; the goal is 5
# Of the public functions with two parameters, so many have `Args:`; the goal is 0.7.
LEAST_ARGS = 0.9
LEAST_DOCUMENTED = 0.97  # of the public names; the goal is 0.95

VAGUE = set(
    "found one other shown told said given kept made most least there own house whole "
    "which many both these those mine theirs near look looks wanted asked began ended "
    "after before behind beside within around away rest more few some each done "
    "others".split()
)
EMPTY_NAMES = {"utils", "helpers", "common", "manager"}

# What each package may import: those on floors below its own. The face, `tftrain` itself, is a floor too.
FLOORS = {
    "runtime": 0,  # errors, files, terminals, devices
    "config": 1,  # YAML -> Config
    "core": 1,  # the step and the loop
    "data": 2,
    "models": 2,
    "optim": 2,  # loss -> update
    "diagnostics": 3,  # what happens inside a step
    "reporting": 3,  # where numbers go
    "trainer": 4,  # a run, from a Config to its end
    "tftrain": 5,
    "cli": 6,
    "__main__": 7,
}


def package(module: str) -> str:
    """The folder below `tftrain/` that a module is in."""
    return module.split(".")[1] if "." in module else module


def may_import(importer: str, imported: str) -> bool:
    """Whether an import stays within its package or points down."""
    here, there = package(importer), package(imported)
    return here == there or FLOORS[there] < FLOORS[here]


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, ast.Module]:
    files = [
        file
        for file in sorted(PACKAGE.rglob("*.py"))
        if "__pycache__" not in file.parts
    ]
    return {
        module_name(file): ast.parse(
            file.read_text(encoding="utf-8"), str(file)
        )
        for file in files
    }


def imported(statement: ast.AST, known: set[str]) -> Iterator[str]:
    """The modules of `known` that one import statement names; `from a import b` is a.b where that is a module."""
    if isinstance(statement, ast.Import):
        yield from (
            alias.name for alias in statement.names if alias.name in known
        )
    elif isinstance(statement, ast.ImportFrom) and statement.module in known:
        for alias in statement.names:
            inner = f"{statement.module}.{alias.name}"
            yield inner if inner in known else statement.module


def import_graph(sources: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Module -> what it imports, anywhere in it: in functions and for annotations alone, too."""
    return {
        name: {
            found
            for node in ast.walk(tree)
            for found in imported(node, set(sources))
        }
        - {name}
        for name, tree in sources.items()
    }


def cycle(graph: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """The longest chain of imports, from the top; needs a graph without a cycle."""
    longest: dict[str, list[str]] = {}
    for name in graphlib.TopologicalSorter(graph).static_order():
        longest[name] = [
            name,
            *max(
                (longest[below] for below in graph[name]), key=len, default=[]
            ),
        ]
    return max(longest.values(), key=len, default=[])


def body_lines(
    function: ast.FunctionDef | ast.AsyncFunctionDef, coded: set[int]
) -> int:
    """Lines of code in a body: without docstring, comments and blank lines."""
    body = (
        function.body[1:]
        if ast.get_docstring(function) is not None
        else function.body
    )
    return (
        len(coded.intersection(range(body[0].lineno, body[-1].end_lineno + 1)))
        if body
        else 0
    )


def coded_lines(source: str) -> set[int]:
    """The numbers of the lines that are neither blank nor only a comment."""
    silent = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        line
        for t in tokens
        if t.type not in silent
        for line in range(t.start[0], t.end[0] + 1)
    }


def complain(rule: str, broken: list[str]) -> None:
    if broken:
        pytest.fail("\n  ".join([rule, *broken]), pytrace=False)


def test_every_package_has_its_floor():
    top = {
        path.stem
        for path in PACKAGE.iterdir()
        if path.is_dir() or path.suffix == ".py"
    }
    assert top - {"__pycache__", "__init__"} == FLOORS.keys() - {"tftrain"}


def test_the_package_has_few_entries():
    entries = [
        path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"
    ]
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


def test_imports_point_down():
    graph = import_graph(modules())
    upward = [
        f"{a} imports {b}"
        for a in graph
        for b in sorted(graph[a])
        if not may_import(a, b)
    ]
    complain("A package imports only those on floors below its own:", upward)


def test_imports_are_written_in_full():
    relative = [
        f"{name}, line {node.lineno}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    complain("An import starts with `tftrain.`, not with a dot:", relative)


def test_the_import_graph_has_no_cycle():
    found = cycle(import_graph(modules()))
    complain(
        "No module imports itself, by any way round:",
        [" -> ".join(found)] if found else [],
    )


def test_chains_of_imports_are_short():
    chain = longest_chain(import_graph(modules()))
    too_long = len(chain) > LONGEST_CHAIN
    complain(
        f"At most {LONGEST_CHAIN} modules in a chain, here are {len(chain)}:",
        [" -> ".join(chain)] if too_long else [],
    )


def test_files_are_short():
    lengths = {
        file: len(file.read_text(encoding="utf-8").splitlines())
        for file in PACKAGE.rglob("*.py")
    }
    long = {
        file.relative_to(ROOT): length
        for file, length in lengths.items()
        if length > MOST_LINES
    }
    complain(
        f"A file has at most {MOST_LINES} lines:",
        [f"{file}: {length}" for file, length in sorted(long.items())],
    )


def test_functions_are_short():
    broken = []
    for name, tree in modules().items():
        file = PACKAGE.parent / Path(*name.split("."))
        file = (
            file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        )
        coded = coded_lines(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and body_lines(node, coded) > MOST_BODY_LINES
            ):
                broken.append(
                    f"{file.relative_to(ROOT)}:{node.lineno} {node.name}: {body_lines(node, coded)}"
                )
    complain(
        f"A function's body has at most {MOST_BODY_LINES} lines of code:",
        broken,
    )


def functions() -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of the package."""
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def public_names() -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Functions and classes of the modules, and the methods of those classes."""
    for tree in modules().values():
        tops = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        ]
        for node in tops:
            inner = node.body if isinstance(node, ast.ClassDef) else []
            methods = [
                item for item in inner if isinstance(item, ast.FunctionDef)
            ]
            for item in [node, *methods]:
                if not item.name.startswith("_"):
                    yield item


@cache
def code_line_count() -> int:
    """Lines of the package that are neither blank, nor comments, nor docstrings."""
    count = 0
    for file in PACKAGE.rglob("*.py"):
        source = file.read_text(encoding="utf-8")
        coded = coded_lines(source)
        for node in ast.walk(ast.parse(source)):
            has_body = isinstance(
                node,
                ast.Module
                | ast.ClassDef
                | ast.FunctionDef
                | ast.AsyncFunctionDef,
            )
            if has_body and ast.get_docstring(node) is not None:
                text = node.body[0]
                coded -= set(range(text.lineno, text.end_lineno + 1))
        count += len(coded)
    return count


def test_lines_are_not_dense():
    nodes = sum(1 for tree in modules().values() for _ in ast.walk(tree))
    assert nodes / code_line_count() <= MOST_NODES


def test_names_of_functions_say_what_they_do():
    names = [
        node.name for node in functions() if not node.name.startswith("__")
    ]
    one_word = [name for name in names if "_" not in name.strip("_")]
    assert len(one_word) / len(names) <= MOST_ONE_WORD


def test_variables_have_names():
    vague = 0
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                vague += node.id in VAGUE
            elif isinstance(node, ast.arg):
                vague += node.arg in VAGUE
    assert 1000 * vague / code_line_count() <= MOST_VAGUE


def test_public_names_are_documented():
    documented = [
        ast.get_docstring(node) is not None for node in public_names()
    ]
    assert sum(documented) / len(documented) >= LEAST_DOCUMENTED


def test_docstrings_list_arguments():
    listed = []
    for node in public_names():
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            taken = [
                item for item in arguments if item.arg not in ("self", "cls")
            ]
            if len(taken) >= 2:
                listed.append("Args:" in (ast.get_docstring(node) or ""))
    assert sum(listed) / len(listed) >= LEAST_ARGS


def test_names_say_what_is_inside():
    empty = [name for name in modules() if EMPTY_NAMES & set(name.split("."))]
    complain("A module is named after what it holds:", empty)


def test_nothing_is_left_to_do():
    word = "TO" + "DO"
    places = [
        file
        for folder in ("tftrain", "tests", "scripts", "configs")
        for file in (ROOT / folder).rglob("*")
    ]
    lines = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in places
        if file.is_file() and file.suffix not in {".pyc", ".png", ".npz"}
        for number, line in enumerate(
            file.read_text(encoding="utf-8").splitlines(), 1
        )
        if word in line
    ]
    complain(f"No {word} stays in the source:", lines)


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("tftrain.cli.commands", "tftrain.config.yaml_parser", True),
        ("tftrain.trainer.build", "tftrain.core.step", True),
        ("tftrain.data.loader", "tftrain.data.sampler", True),
        ("tftrain.diagnostics.fault", "tftrain.optim.gradients.backprop", True),
        ("tftrain", "tftrain.trainer.trainer", True),
        ("tftrain.core.step", "tftrain.optim.clip", False),
        ("tftrain.core.step", "tftrain.config.schema", False),
        ("tftrain.data.loader", "tftrain.models.cnn", False),
        ("tftrain.config.yaml_parser", "tftrain.trainer.build", False),
        ("tftrain.trainer.build", "tftrain", False),
    ],
)
def test_the_map_of_the_house(importer, imported, allowed):
    assert may_import(importer, imported) is allowed


def test_the_graph_is_read_from_every_form_of_import():
    sources = {
        "tftrain.a": "import tftrain.b\ndef late():\n    from tftrain import c\n",
        "tftrain.b": "from tftrain.c import thing\nimport os\n",
        "tftrain.c": "",
        "tftrain": "",
    }
    trees = {name: ast.parse(text) for name, text in sources.items()}
    assert import_graph(trees)["tftrain.a"] == {"tftrain.b", "tftrain.c"}
    assert longest_chain(import_graph(trees)) == [
        "tftrain.a",
        "tftrain.b",
        "tftrain.c",
    ]
    assert cycle(import_graph(trees)) == []
    trees["tftrain.c"] = ast.parse("import tftrain.a")
    assert {"tftrain.a", "tftrain.c"} <= set(cycle(import_graph(trees)))


def test_a_body_is_counted_without_docstring_and_comments():
    source = 'def f():\n    """Says.\n\n    More.\n    """\n    # why\n\n    x = [\n        1,\n    ]\n    return x\n'
    assert body_lines(ast.parse(source).body[0], coded_lines(source)) == 4
