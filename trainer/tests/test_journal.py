import re

import pytest

from dream_trainer.journal import Journal

PLAN = {
    "type": "plan",
    "at": 0.0,
    "parameters": 7_615_616_512,
    "recipe": "full-fp32",
    "ranks": 1,
    "device": "cpu",
    "rows": 812,
    "stepsPerEpoch": 26,
    "steps": 3,
    "fromStep": 0,
}


def step(number: int, at: float, *, left_out: bool = False) -> dict[str, object]:
    return {
        "type": "step",
        "at": at,
        "step": number,
        "epoch": 0,
        "loss": 1.23456,
        "learningRate": 1e-5,
        "gradNorm": 0.5,
        "tokens": 1000,
        "seconds": 0.5,
        "leftOut": left_out,
    }


def told(capsys: pytest.CaptureFixture[str], *events: dict[str, object]) -> list[str]:
    journal = Journal()
    for event in (PLAN, *events):
        journal.tell(event)
    return capsys.readouterr().out.splitlines()[1:]


def test_a_line_has_the_time_and_what_was_learned(capsys: pytest.CaptureFixture[str]) -> None:
    [line] = told(capsys, step(1, 60.0))
    assert line == (
        "1970-01-01 00:01:00 step 1/3  epoch 1  loss 1.2346  learning rate 1e-05  gradient norm 0.500  2,000 tokens/s"
    )


def test_a_line_a_second_but_never_without_the_last_step(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, step(1, 1.0), step(2, 1.5), step(3, 1.6))
    assert [re.findall(r"step \d/3", line) for line in lines] == [["step 1/3"], ["step 3/3"]]


def test_a_step_left_out_is_told_whenever_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, step(1, 1.0), step(2, 1.1, left_out=True))
    assert lines[-1].endswith("step 2/3  left out")


def test_phases_whose_end_tells_more_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    phases = [{"type": "phase", "at": 0.0, "phase": phase} for phase in ("load", "train", "save", "validation")]
    assert [line[20:] for line in told(capsys, *phases)] == ["phase load"]


def test_a_reader_who_is_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Gone())
    Journal().tell(PLAN)
