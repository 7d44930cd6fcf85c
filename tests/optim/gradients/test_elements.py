import numpy as np
import pytest

from tftrain.core.variables import element_name, parse_element_name

NAMES, SHAPES = (
    ["000.a/kernel", "000.a/kernel_2", "001.b/scale"],
    [(2, 3), (4,), ()],
)


def test_a_name_leads_back_to_its_number():
    for number, (name, shape) in enumerate(zip(NAMES, SHAPES, strict=True)):
        for place in range(int(np.prod(shape))):
            assert parse_element_name(
                element_name(name, shape, place), NAMES, SHAPES
            ) == (number, place)
    assert element_name("000.a/kernel", (2, 3), 5) == "000.a/kernel.1.2"
    assert element_name("001.b/scale", (), 0) == "001.b/scale"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "000.a/kernel",
        "000.a/kernel.2.0",
        "000.a/kernel.0.-1",
        "000.a/kernel.0.0.0",
        "b",
    ],
)
def test_a_name_of_no_number(name):
    with pytest.raises(
        ValueError,
        match=r"the last of each parameter are 000.a/kernel.1.2, 000.a/kernel_2.3, 001.b/s",
    ):
        parse_element_name(name, NAMES, SHAPES)
