"""Reports of trainings that follow each other in one run."""

from dataclasses import replace

from recbench.core.plugin import FitReport


def joined(first: FitReport, second: FitReport) -> FitReport:
    """One report of two trainings, the second one's steps counted on from the first one's."""
    seconds = first.curve[-1].seconds if first.curve else 0.0
    behind = [
        replace(point, step=point.step + first.steps, epoch=point.epoch + first.epochs, seconds=point.seconds + seconds)
        for point in second.curve
    ]
    chosen = dict(second.chosen)
    chosen["step"] = int(chosen.get("step", second.steps)) + first.steps
    return replace(
        second,
        steps=first.steps + second.steps,
        epochs=first.epochs + second.epochs,
        examples_seen=first.examples_seen + second.examples_seen,
        curve=[*first.curve, *behind],
        chosen=chosen,
        resumed_at=first.resumed_at if second.resumed_at is None else second.resumed_at + first.steps,
    )
