import pytest

from tftrain.reporting.timing_summary import time_line


@pytest.fixture
def line(desk):
    def say(spent, streamed=False, settings="{name: iris}"):
        data = desk.load(
            desk.good.replace("data: iris", f"data: {settings}")
        ).data
        return time_line(spent, data, streamed)

    return say


def test_shares_in_order_without_what_is_next_to_nothing(line):
    spent = {
        "step": 6.5,
        "compiling": 2.0,
        "validation": 1.0,
        "measuring": 0.46,
        "input": 0.04,
    }
    assert (
        line(spent)
        == "time: 10.0 s: compiling 20 %, step 65 %, measuring 5 %, validation 10 %"
    )


def test_a_run_that_did_nothing(line):
    assert line({}) is None
    assert line({"writing": 0.004}) is None


def test_less_than_half_a_second_is_not_worth_a_setting(line):
    assert (
        line({"step": 1.6, "writing": 0.4})
        == "time: 2.0 s: step 80 %, writing 20 %"
    )
    assert "input would" not in line({"step": 1.6, "input": 0.4})


@pytest.mark.parametrize(
    ("streamed", "settings", "advice"),
    [
        (
            True,
            "{name: iris, preprocess: standardize}",
            "data.cache: true, where the examples fit into memory",
        ),
        (True, "{name: iris, cache: true}", "a larger data.batch_size"),
        (
            True,
            "{name: iris, cache: true, preprocess: standardize}",
            "fewer steps in data.preprocess",
        ),
        (
            False,
            "{name: iris, preprocess: standardize}",
            "fewer steps in data.preprocess",
        ),
        (False, "{name: iris}", "a larger data.batch_size"),
    ],
)
def test_input_that_takes_more_than_a_tenth(line, streamed, settings, advice):
    assert (
        line({"step": 9, "input": 1}, streamed, settings)
        == "time: 10.0 s: step 90 %, input 10 %"
    )
    much = line({"step": 3, "input": 1}, streamed, settings)
    assert (
        much
        == f"time: 4.0 s: step 75 %, input 25 %; input would take less with {advice}"
    )


@pytest.mark.parametrize(
    ("measuring", "writing", "setting"),
    [(6, 5, "log.histograms_every"), (5, 6, "log.scalars"), (4, 6, None)],
)
def test_logging_that_takes_more_than_a_tenth(
    line, measuring, writing, setting
):
    said = line(
        {
            "step": 100 - measuring - writing,
            "measuring": measuring,
            "writing": writing,
        }
    )
    advice = (
        f"; logging would take less with a larger {setting}" if setting else ""
    )
    assert (
        said
        == f"time: 100.0 s: step {100 - measuring - writing} %, measuring {measuring} %, writing {writing} %{advice}"
    )
