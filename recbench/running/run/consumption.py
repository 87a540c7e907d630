"""What a training consumes beside time and memory, measured where the user asks for it: energy, and floating-point operations."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import isfinite, prod
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from recbench.about import DISTRIBUTION
from recbench.core.errors import BadRequest, nearest
from recbench.running.stages.facts import Facts

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

CONSUMPTION_FILE = "consumption.json"
"""File of a training's stage with what it consumed; there is none where nobody measured."""
MEASURES = ("energy", "flops")
log = logging.getLogger(__name__)


class Consumed(Facts):
    """The content of `CONSUMPTION_FILE`; None is what nobody measured.

    Attributes:
        energy_kwh: of processor, memory and accelerators, as codecarbon reads or estimates them.
        flops: floating-point operations of torch's products, convolutions and attention.
    """

    energy_kwh: Annotated[float, Field(ge=0)] | None = None
    flops: Annotated[float, Field(ge=0)] | None = None


class Consumption:
    """Measures one training."""

    def __init__(self, asked: Sequence[str]) -> None:
        """Make ready what takes a while, such as finding out what the machine can tell.

        Args:
            asked: some of `MEASURES`.

        Raises:
            BadRequest: something else was asked for, or codecarbon is not installed.
        """
        check_measures(asked)
        self.asked = tuple(asked)
        self.consumed = Consumed()
        self._energy = _EnergyMeter() if "energy" in asked else None

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure a block; `consumed` says afterwards what it took."""
        with ExitStack() as stack:
            counter = stack.enter_context(_flop_counter()) if "flops" in self.asked else None
            energy = stack.enter_context(self._energy.measuring()) if self._energy is not None else None
            yield
        flops = None if counter is None else float(counter.get_total_flops())
        self.consumed = Consumed(energy_kwh=None if energy is None else energy.kwh, flops=flops)


class _EnergyMeter:
    """codecarbon without a connection, a file, or a word."""

    def __init__(self) -> None:
        from codecarbon import OfflineEmissionsTracker

        self.kwh: float | None = None
        with _quiet():
            self._tracker: Any = OfflineEmissionsTracker(
                country_iso_code="USA",  # it wants one for the carbon dioxide, which hangs on where the power comes from and is not kept
                tracking_mode="process",
                save_to_file=False,
                save_to_api=False,
                allow_multiple_runs=True,  # else it leaves a lock file, and a second run on the machine measures nothing
                log_level="critical",
            )
            try:
                # Its first task looks for what the hardware can tell, which takes a second.
                self._tracker.start_task("first")
                self._tracker.stop_task("first")
            except Exception as error:  # whatever it meets in a machine's files
                raise BadRequest(
                    f"--measure energy: codecarbon cannot measure here: {type(error).__name__}: {error}. Leave energy out."
                ) from error

    @contextmanager
    def measuring(self) -> Iterator["_EnergyMeter"]:
        """Measure a block; `kwh` is what it took, or None where codecarbon failed, which ends no run."""
        self.kwh = None
        with self._surviving():
            self._tracker.start_task("training")
        try:
            yield self
        finally:
            with self._surviving():
                kwh = float(self._tracker.stop_task("training").energy_consumed)
                self.kwh = kwh if isfinite(kwh) and kwh >= 0 else None

    @staticmethod
    @contextmanager
    def _surviving() -> Iterator[None]:
        try:
            with _quiet():
                yield
        except Exception as error:
            log.warning("energy is not measured: %s: %s", type(error).__name__, " ".join(str(error).split()))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what codecarbon and the libraries below it warn of, such as a processor whose power is estimated."""
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_measures(asked: Sequence[str]) -> None:
    """Raise a `BadRequest` for what cannot be measured here."""
    for name in asked:
        if name not in MEASURES:
            raise BadRequest(f"--measure {name!r} is not known.{nearest(name, MEASURES)} There are: {', '.join(MEASURES)}.")
        if asked.count(name) > 1:
            raise BadRequest(f"--measure names {name!r} more than once. Name it once.")
    if "energy" in asked:
        try:
            import codecarbon  # noqa: F401
        except ImportError as error:
            raise BadRequest(
                f"--measure energy needs codecarbon, which cannot be imported here: {error}. "
                f"Install it: pip install '{DISTRIBUTION}[measure]'"
            ) from None


def _flop_counter() -> "FlopCounterMode":
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # torch's own formulas leave out the product that `nn.compute.projection` asks oneDNN for.
    own = [torch.ops.mkldnn._linear_pointwise] if hasattr(torch.ops.mkldnn, "_linear_pointwise") else []
    return FlopCounterMode(display=False, custom_mapping=dict.fromkeys(own, _flops_of_product))


def _flops_of_product(x: Sequence[int], weight: Sequence[int], *_args: Any, out_shape: Any = None, **_kwargs: Any) -> int:  # noqa: ARG001
    """Of (..., X) by (Y, X): a multiplication and an addition each."""
    return 2 * prod(x) * weight[0]
