import pytest

from deephochuli.live._pace import Pace


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_work_takes_at_most_its_share_of_the_time(share):
    now = [0.0]
    pace = Pace(share, lambda: now[0])
    worked = 0.0
    while now[0] < 1000:
        if pace.is_due():
            with pace.measured():
                now[0] += 0.7
                worked += 0.7
        now[0] += 0.05
    assert worked / now[0] <= share + 0.7 / now[0]
    assert worked / now[0] > 0.8 * share


def test_work_that_fails_is_measured_too():
    now = [0.0]
    pace = Pace(0.1, lambda: now[0])

    def work():
        with pace.measured():
            now[0] = 1.0
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert not pace.is_due()
    now[0] = 10.0
    assert pace.is_due()
