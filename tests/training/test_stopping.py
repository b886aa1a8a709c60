import signal

import pytest

from common.signals import SIGNALS, Ended
from training.stopping import StopRequest

pytestmark = pytest.mark.usefixtures("foreground")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_work_is_left_between_two_items(number: signal.Signals) -> None:
    with StopRequest() as stop:
        stop.waits = True
        items = stop.between(range(5))
        assert [next(items), next(items)] == [0, 1]
        signal.raise_signal(number)
        with pytest.raises(Ended):
            next(items)
    assert stop.signal == number
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_acts_at_once_while_there_is_nothing_to_save_and_the_next_one_does_nothing() -> None:
    with StopRequest():
        with pytest.raises(Ended):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_no_further_signal_ends_what_waits_to_be_saved() -> None:
    with StopRequest() as stop:
        stop.waits = True
        for number in SIGNALS:
            signal.raise_signal(number)
    assert stop.signal == SIGNALS[0]


def test_one_process_of_several_goes_on_until_all_stop() -> None:
    with StopRequest(alone=False) as stop:
        stop.waits = True
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert list(stop.between(range(3))) == [0, 1, 2]
    assert stop.signal == signal.SIGINT


def test_a_signal_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert list(stop.between(range(3))) == [0, 1, 2]
