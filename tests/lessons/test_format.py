"""A lesson file is read, or refused in one line that names file, line and mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from totemviz.lessons import LessonError, all_lessons, find_lesson, load_lesson
from totemviz.lessons.format import parse_lesson
from totemviz.sim.threads import HostModel

GOOD = """\
title = "Two steps"
summary = "For tests"

[scenario]
seed = 3
[scenario.disks]
3 = "usb-stick"

[[steps]]
title = "Do"
text = "…"
task = "Stall something"
[[steps.check]]
event = "disk_changed"
where = { stall_ns = { at_least = "12s" } }
[[steps.check]]
no_event = { event = "timer_expired" }
during = "5s"

[[steps]]
title = "Bet"
text = "…"
[steps.predict]
question = "And now?"
hold_before = { event = "timer_expired", where = { timer = "token loss" } }
[[steps.predict.choices]]
text = "this"
because = "no"
[[steps.predict.choices]]
text = "that"
because = "yes"
right = true
"""


def test_good_lesson() -> None:
    lesson = parse_lesson(GOOD, Path("two.toml"))
    assert lesson.name == "two"
    assert [step.title for step in lesson.steps] == ["Do", "Bet"]
    assert lesson.scenario.profile_of(3) == "usb-stick"
    assert len(lesson.conf.nodes) == 3


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('title = "Two steps"', 'title = "Two steps', 1, "mend the TOML"),
        ('summary = "For tests"', 'sumary = "For tests"', 2, "sumary"),
        ("seed = 3", 'seed = "x"', 5, "int"),
        ('3 = "usb-stick"', '9 = "usb-stick"', 7, "no node 9"),
        ('3 = "usb-stick"', '3 = "tape"', 7, "unknown disk 'tape'"),
        ('task = "Stall something"', 'tusk = "Stall something"', 12, "tusk"),
        ('task = "Stall something"\n', "", 9, "either a task or"),
        (
            'event = "disk_changed"',
            'event = "disc_changed"',
            14,
            "unknown event 'disc_changed'; use one of run_started",
        ),
        ("{ stall_ns = {", "{ stall = {", 15, "disk_changed has no 'stall'; it has profile, stall_ns"),
        ("at_least = ", "more_than = ", 15, "use at_least, at_most, contains, not"),
        ('"12s" }', '"12 parsecs" }', 15, "not a duration"),
        ('"12s" }', "true }", 15, "stall_ns cannot be True"),
        ('during = "5s"', "during = 5", 18, "needs a unit"),
        ('{ event = "timer_expired" }', '{ event = "timer" }', 17, "unknown event 'timer'"),
        ('no_event = { event = "timer_expired" }\n', "", 17, "add no_event"),
        ('during = "5s"', "", 16, "either event, or no_event with during"),
        ('timer = "token loss"', "timer = 3", 25, "timer cannot be 3"),
        ('timer = "token loss"', 'clock = "x"', 25, "timer_expired has no 'clock'"),
        ("right = true", "", 26, "mark at least one with right = true"),
        ('because = "yes"', "", 29, "because"),
        ('question = "And now?"', 'question = "And now?"\nanswer = 3', 25, "answer"),
    ],
)
def test_errors_name_file_line_and_mend(old: str, new: str, line: int, words: str) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(LessonError) as caught:
        parse_lesson(GOOD.replace(old, new), Path("two.toml"))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"two.toml:{line}: "), message
    assert words in message


def test_both_task_and_prediction_or_no_check_are_refused() -> None:
    both = GOOD.replace('title = "Bet"', 'title = "Bet"\ntask = "x"')
    with pytest.raises(LessonError, match=r"^t.toml:20: step 2 needs either"):
        parse_lesson(both, Path("t.toml"))
    head, _, tail = GOOD.partition("[[steps.check]]")
    unchecked = head + tail[tail.index("[[steps]]") :]
    with pytest.raises(LessonError, match=r"^t.toml:12: nothing would tell"):
        parse_lesson(unchecked, Path("t.toml"))


def test_scenario_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('host_model = "measured"\n')
    head, _, rest = GOOD.partition("[scenario]")
    path = tmp_path / "l.toml"
    path.write_text(head + 'scenario = "s.toml"\n' + rest[rest.index("[[steps]]") :])
    assert load_lesson(path).scenario.host_model is HostModel.MEASURED
    (tmp_path / "s.toml").write_text("seed = x\n")
    with pytest.raises(LessonError, match=r"s\.toml:1: "):
        load_lesson(path)
    (tmp_path / "s.toml").unlink()
    with pytest.raises(LessonError, match=r"l\.toml:4: cannot read s\.toml: .*; name a file"):
        load_lesson(path)


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "l.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LessonError, match="not a text file"):
        load_lesson(path)


def test_library() -> None:
    lessons = all_lessons()
    assert "domino" in lessons
    assert find_lesson("domino").title == lessons["domino"].title == "The domino effect"
    assert 7 <= len(lessons["domino"].steps) <= 9
    with pytest.raises(LessonError, match=r"no lesson 'chess'; use one of .*domino"):
        find_lesson("chess")
