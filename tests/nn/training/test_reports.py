"""One report of two trainings."""

from recbench.core import CurvePoint, FitReport, Parameters
from recbench.nn.training import joined


def point(step: int, seconds: float) -> CurvePoint:
    return CurvePoint(step, step / 10, seconds, loss=1.0, learning_rate=0.1)


def test_the_second_training_is_counted_on_from_the_first() -> None:
    first = FitReport(steps=20, epochs=2.0, examples_seen=100, curve=[point(10, 1.0), point(20, 3.0)], chosen={"step": 20})
    second = FitReport(
        steps=30,
        epochs=3.0,
        examples_seen=50,
        examples_possible=25,
        parameters=Parameters(total=7),
        curve=[point(10, 2.0), point(30, 5.0)],
        chosen={"step": 10, "ndcg@10": 0.2},
        stopped_by="patience",
        resumed_at=5,
    )
    both = joined(first, second)
    assert (both.steps, both.epochs, both.examples_seen, both.examples_possible) == (50, 5.0, 150, 25)
    assert [(part.step, part.epoch, part.seconds) for part in both.curve] == [
        (10, 1.0, 1.0),
        (20, 2.0, 3.0),
        (30, 3.0, 5.0),
        (50, 5.0, 8.0),
    ]
    assert both.chosen == {"step": 30, "ndcg@10": 0.2}
    assert (both.stopped_by, both.resumed_at, both.parameters.total) == ("patience", 25, 7)


def test_a_training_that_went_on_after_a_kill_is_said_whichever_it_was() -> None:
    first, second = FitReport(steps=20, resumed_at=7), FitReport(steps=30)
    assert joined(first, second).resumed_at == 7
    assert joined(first, second).chosen["step"] == 50
