"""The graph of a step as it was traced in a loop, for people to look at."""

from __future__ import annotations

from typing import Any

LOOP = "loop"  # the scope of what repeats the step, which is left out


def drawn(graph: Any, scope: str) -> Any:
    """The GraphDef of what lies in a scope of a graph, named as if the scope were all there is."""
    whole = graph.as_graph_def()
    kept = {}
    for node in whole.node:
        node.name = _short(node.name, scope)
        if not _is_of_loop(node, scope):
            kept[node.name] = node
    for node in kept.values():
        inputs = [_short(name, scope) for name in node.input]
        del node.input[:]
        node.input.extend(name for name in inputs if name.lstrip("^").partition(":")[0] in kept)
    return type(whole)(node=kept.values(), library=whole.library, versions=whole.versions)


def _short(name: str, scope: str) -> str:
    return name.replace(f"{scope}/", "")


def _is_of_loop(node: Any, scope: str) -> bool:
    """What enters and leaves the loop stands in no scope, as a step does that is a compiled function."""
    head, _, rest = node.name.partition("/")
    return head in (LOOP, scope.partition("/")[0]) if rest else not node.op.endswith("PartitionedCall")
