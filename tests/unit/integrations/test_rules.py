"""Which actions follow from which findings and events."""

import re
from pathlib import Path

import pytest

import deephochuli
from deephochuli.analysis import Finding
from deephochuli.errors import DeepHochuliWarning, TapError
from deephochuli.integrations._rules import KINDS, MOST_EVENTS, Rules
from deephochuli.store import StepRow


def finding(kind="swamped-updates", level="critical"):
    texts = dict.fromkeys(("title", "layer", "quantity", "summary", "why", "advice", "code"), "x")
    return Finding(
        kind, level, 1.0, **texts, numbers=(), places=(), step_first=0, step_last=3, evidence="zero"
    )


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (None, ()),
        ("stop", ("stop",)),
        ({"critical": "stop"}, ("stop",)),
        ({"warning": "snapshot"}, ("snapshot",)),
        ({"warning": "snapshot", "critical": "stop"}, ("stop",)),
        ({"critical": "stop", "swamped-updates": "continue"}, ()),
        ({"critical": "stop", "non-finite": "continue"}, ("stop",)),
        ({"swamped-updates": ("snapshot", "stop")}, ("snapshot", "stop")),
        ({"nonfinite": "stop"}, ()),
    ],
)
def test_what_follows_from_a_critical_finding(rules, expected):
    assert Rules(rules).of_finding(finding()) == expected


def test_a_rule_for_a_level_does_not_hold_for_milder_findings():
    assert Rules({"critical": "stop"}).of_finding(finding(level="warning")) == ()


@pytest.mark.parametrize("rules", [None, {}, "continue", {"critical": "continue"}])
def test_rules_that_say_nothing_are_none(rules):
    assert not Rules(rules)


def test_an_unknown_name_is_refused_with_its_neighbours():
    with pytest.raises(TapError, match=r"rule for 'critcal'.*Did you mean 'critical'\?"):
        Rules({"critcal": "stop"})


def test_an_unknown_action_is_refused_with_its_neighbours():
    with pytest.raises(TapError, match=r"says 'halt' for 'critical'; expected 'continue'"):
        Rules({"critical": "halt"})
    with pytest.raises(TapError, match=r"'snapshop'.*Did you mean 'snapshot' or 'stop'\?"):
        Rules({"critical": ("stop", "snapshop")})


def test_all_kinds_of_findings_of_a_run_have_a_name():
    folder = Path(deephochuli.__file__).parent / "analysis"
    texts = [path.read_text("utf-8") for path in folder.glob("[a-z]*.py")]
    written = {kind for text in texts for kind in re.findall(r'^ +kind="([a-z-]+)",$', text, re.M)}
    assert written == set(KINDS)


def step(number=0, loss=None):
    return StepRow(step=number, wall_s=0.0, loss=loss)


def test_a_trigger_says_what_follows():
    rules = Rules({"loss-spike": "snapshot", "nonfinite": "stop"})
    assert rules.of_step(step(0, 1.0), []) == []
    (event,) = rules.of_step(step(1, float("nan")), [])
    assert (event.name, event.text, event.actions) == ("loss-spike", "loss nan", ("snapshot",))


def test_a_trigger_that_fails_is_asked_no_more():
    rules = Rules({"nonfinite": "stop", "loss-spike": "stop"})
    with pytest.warns(DeepHochuliWarning, match="trigger nonfinite failed and is asked no more"):
        (event,) = rules.of_step(step(0, float("inf")), [object()])
    assert event.name == "loss-spike"
    assert len(rules.of_step(step(1, float("inf")), [object()])) == 1


def test_what_goes_on_and_on_is_no_event():
    rules = Rules({"loss-spike": "snapshot"})
    events = [rules.of_step(step(n, float("nan")), []) for n in range(2 * MOST_EVENTS)]
    assert sum(map(len, events)) == MOST_EVENTS
