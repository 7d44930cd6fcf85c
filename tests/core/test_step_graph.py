from tftrain.core.compiled_steps import CompiledSteps

STAGES = {
    "batch",
    "gradients",
    "gradient_tape",
    "norms",
    "transforms",
    "rate",
    "update",
    "signals",
}


def test_the_drawn_graph_holds_the_stages_and_nothing_of_the_loop(house):
    run, feed = house.small_run(), house.classes_feed()
    graph = CompiledSteps(run.state, run.step_spec, feed).graph()
    names = [node.name for node in graph.node]
    scopes = {name.partition("/")[0] for name in names}
    assert scopes >= STAGES and not scopes & {
        "loop",
        "while",
        "Placeholder",
        "Identity",
    }
    assert len(set(names)) == len(names)
    inputs = {
        name.lstrip("^").partition(":")[0]
        for node in graph.node
        for name in node.input
    }
    assert inputs <= set(names)  # no line leads out of the picture
    layers = {
        name.split("/")[2]
        for name in names
        if name.startswith("gradients/") and "/BiasAdd" in name
    }
    assert len(layers) == sum(
        len(layer.weights) == 2 for layer in run.model.layers
    )


def test_a_compiled_step_is_drawn_as_one_node(house):
    run, feed = house.small_run(), house.classes_feed()
    graph = CompiledSteps(
        run.state, run.step_spec, feed, jit_compile=True
    ).graph()
    assert any(node.op.endswith("PartitionedCall") for node in graph.node)
    assert any(
        "gradients" in node.name
        for function in graph.library.function
        for node in function.node_def
    )
