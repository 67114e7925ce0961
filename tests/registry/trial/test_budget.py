"""How the test is cut to what the box can do."""

import pytest

from registry.quarantine.trial import budget, harmless
from registry.quarantine.trial.asks import Answer
from registry.quarantine.trial.budget import Pace
from tests.registry.trial.scripted import SHA256

ASKS = harmless.chat_asks(SHA256, ("omia", "exfol", "Lif"))


def test_a_fast_box_does_the_whole_test() -> None:
    assert budget.fitting(ASKS, Pace(270.0, 100.0), 60.0) == ASKS


@pytest.mark.parametrize("seconds", [600.0, 300.0, 150.0, 100.0])
def test_a_slower_box_does_less_and_never_less_than_the_least(seconds: float) -> None:
    pace = Pace(10.0, 3.0)
    asks = budget.fitting(ASKS, pace, seconds)
    assert asks is not None
    assert budget.seconds_for(asks, pace) <= seconds
    assert {ask.id for ask in asks} >= {ask.id for ask in ASKS if ask.rank == 0}
    assert all(ask.tokens >= budget.LEAST_TOKENS for ask in asks)


def test_a_box_that_is_too_slow_does_none() -> None:
    assert budget.fitting(ASKS, Pace(1.0, 0.2), 600.0) is None


def test_the_pace_is_told_from_one_answer() -> None:
    pace = budget.pace_of(Answer("text", "stop", 50, 24, first_token_ms=500.0, tokens_per_second=40.0))
    assert (pace.reads, pace.writes) == (100.0, 40.0)


def test_an_answer_that_says_nothing_about_speed_does_not_divide_by_zero() -> None:
    assert budget.pace_of(Answer("", "stop")).reads > 0
    assert budget.seconds_for(ASKS, Pace(0.0, 0.0)) > 1e6
