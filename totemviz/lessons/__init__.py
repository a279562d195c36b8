"""Lessons: a few short steps through something a cluster really does, each checked against the timeline.

A lesson is data, a TOML file in the top-level folder ``lessons/``. It names a cluster (a scenario) and some steps. A
step is text and either one *task* or one *prediction*:

* A task has *checks*: patterns of events that must appear, in the order written, between the event that completed the
  step before and the cursor. So a task is done when the cluster did it and the learner has seen it, whatever keys were
  pressed; what lies ahead of the cursor does not count, and what was done once stays done.
* A prediction is asked *before* the decisive event. The pattern ``hold_before`` is a gate: the cursor does not get past
  such an event until the learner has chosen. A wrong answer costs nothing; it is answered with an explanation.

Files of this room, in reading order:

* ``format``: the file format, read strictly; every error is one line with file, line and mend.
* ``match``: patterns over events, compiled once.
* ``run``: ``LessonRun``, one learner in one lesson. It reads the session's timeline up to the cursor and is told of
  nothing else. The app moves the session, then calls ``update()``.
* ``gated``: the session a lesson runs on: its world does not run past the gate, so the answer does not exist yet.
* ``library``: which lessons there are, and where their files lie (a checkout, or the installed package).
* ``progress``: what is kept between two sittings: the steps done and the run itself, as a scenario, so that coming
  back finds the same cluster at the same event.

A step may name a *host model*. When such a step begins in another model, the run asks for a switch; the app answers
with ``LessonRun.switch()``, which plays the learner's own interventions again under the other model. The rule of the
texts is the rule of the house: popular stories are told as stories, and what the source and the measurements say has
the last word.
"""

from totemviz.lessons.format import Lesson, LessonError, Predict, Step, load_lesson
from totemviz.lessons.library import all_lessons, find_lesson
from totemviz.lessons.run import LessonRun

__all__ = ["Lesson", "LessonError", "LessonRun", "Predict", "Step", "all_lessons", "find_lesson", "load_lesson"]
