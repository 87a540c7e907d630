"""The one training loop of all trained models.

What makes a resumed training give the numbers of an uninterrupted one: the batches of an epoch are a function of the epoch, the
random numbers of a step are a function of the seed, the step, the rank and the part of the batch, and everything else that a
later step depends on stands in the checkpoint.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import InitVar, dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from recbench.core.budget import Budget
from recbench.core.elapsed import Elapsed
from recbench.core.errors import BadRequest, Interrupted, StageFailed, Untrained
from recbench.core.plugin import CurvePoint, FitContext, FitReport, Ranker
from recbench.core.progress import Task, finite
from recbench.core.seeds import derived_seed
from recbench.nn.compute import distributed
from recbench.nn.training.batch import Batch, shard
from recbench.nn.training.checkpoints import CheckpointFolder
from recbench.nn.training.clock import Clock, Moment
from recbench.nn.training.determinism import repeatable
from recbench.nn.training.interrupts import StopNow, StopSignals
from recbench.nn.training.optimizer import count_parameters, load_optimizer_tensors, make_optimizer, optimizer_tensors, trained_weights
from recbench.nn.training.pace import PACE_STEPS, is_paced, refuse_less_than_a_pass
from recbench.nn.training.settings import TrainingSettings
from recbench.nn.training.sharding import clip_norm, is_sharded, scattered, whole
from recbench.nn.training.state import STATE, Candidate, State

_LOSSES_IN_FLIGHT = 32
"""On a GPU the loss is looked at this seldom: every look waits for the device."""
_TICK_S = 1e-3
"""Less than this no clock is trusted with."""
_SHOW_EVERY_S = 0.5


def train(
    context: FitContext,
    module: nn.Module,
    *,
    batches: Callable[[int], Sequence[Batch]],
    settings: TrainingSettings,
    ranker: Ranker | None = None,
    examples_possible: int = 0,
    name: str = "training",
    budget: Budget | None = None,
    rate_factors: Mapping[str, float] | None = None,
) -> FitReport:
    """Train `module` in place and leave the weights in it that validation liked best; what was done comes back.

    Args:
        context: of the run.
        module: `module(batch)` gives `(loss_sum, n_targets)`: the sum, not the mean, of the losses of the batch's targets as a
            scalar tensor, and their number. All its randomness must come from torch's default generators, which the loop seeds
            for every step. It is moved to the context's device; parameters that need no gradient are not kept in checkpoints.
        batches: the global batches of an epoch, counted from 0; a function of the seed and the epoch alone, equal on all ranks.
            A batch is an array of example numbers or an object with `shard`. Where several processes train together, or
            `settings.accumulate` is above 1, `module` is handed parts of a batch, never an empty one; the gradient is that of
            the sum over the whole batch divided by its number of targets.
        settings: of the optimiser, its schedule and the ends of training.
        ranker: who is validated; it should rank with `module` in its present state. None: the last weights are taken.
        examples_possible: distinct (history, target) pairs, for the report.
        name: of this training within the model; a second training of one `fit` needs a name of its own.
        budget: what this training may spend, where it is one of several of a run; None: all that the context has.
        rate_factors: by the beginning of parameters' names, what the learning rate is multiplied with for them.

    Raises:
        StageFailed: the loss is not a finite number, there are no batches, or a checkpoint cannot be written.
        Untrained: the budget was used up before the first step.
        BudgetTooSmall: a budget of time ends before every example was seen once, or before the first step.
        Interrupted: SIGTERM or Ctrl-C; a checkpoint is written and the next call with the same arguments goes on from it.
    """
    return _Training(context, module, batches, settings, ranker, examples_possible, name, budget or context.budget, rate_factors).run()


@dataclass(eq=False)
class _Training:
    """One training; see `train`."""

    context: FitContext
    module: nn.Module
    batches: Callable[[int], Sequence[Batch]]
    settings: TrainingSettings
    ranker: Ranker | None
    examples_possible: int
    name: str
    budget: Budget
    rate_factors: InitVar[Mapping[str, float] | None]

    def __post_init__(self, rate_factors: Mapping[str, float] | None) -> None:
        context, module, settings = self.context, self.module, self.settings
        self.device = torch.device(context.device)
        module.to(self.device)
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(module, settings, rate_factors)
        self.folder = CheckpointFolder(context.checkpoints / self.name)
        self.state = State()
        self.kept: dict[int, dict[str, Tensor]] = {}
        """Weights of the candidates, by step."""
        self.resumed_at: int | None = None
        self.signals = StopSignals()
        self.in_flight: list[tuple[int, Tensor, int]] = []
        """Step, loss and number of targets of steps whose loss was not looked at yet."""
        self.epoch_batches: tuple[int, Sequence[Batch]] | None = None
        self.max_epochs, self.max_steps = settings.longest(self.budget)
        self.clock = Clock(self.budget, context.world, settings.checkpoint_every_s)
        self.steps_here = self.examples_here = 0
        """Done by this attempt."""
        self.last_shown = time.monotonic()
        self.last_loss = math.nan

    def run(self) -> FitReport:
        """Train to the end."""
        self._resume()
        self._rehearse()
        distributed.copy_from_first((p.detach() for p in self.parameters if not is_sharded(p)), self.context.world)
        cuda = [self.device] if self.device.type == "cuda" else []
        with self.signals, torch.random.fork_rng(devices=cuda), repeatable(self.device):
            try:
                if self.state.stopped_by is None:
                    with self.context.progress.task(self.name, finite(self._steps_left())) as task:
                        self._loop(task)
                    self._refuse_untrained()
                    self._checkpoint()
                chosen = self._choose()
            except StopNow:
                self._stop()
            if self._moment().is_stopped:
                self._stop()
        self.module.eval()
        state = self.state
        self.budget.note_training(steps=state.step, examples=state.examples)
        return FitReport(
            steps=state.step,
            epochs=self._epochs(),
            examples_seen=state.examples,
            examples_possible=self.examples_possible,
            parameters=count_parameters(self.module),
            curve=state.curve,
            chosen=chosen,
            stopped_by=state.stopped_by or "done",
            resumed_at=self.resumed_at,
        )

    def _loop(self, task: Task) -> None:
        state = self.state
        self.module.train()
        moment = self._moment()
        while True:
            if moment.is_stopped:
                self._stop()
            if self.ranker is not None and (state.validation_due or moment.is_early_validation_due):
                if moment.fits_validation:
                    self._validate(self.ranker)
                state.validation_due = False
                moment = self._moment()
            reason = self._reason_to_stop(moment)
            if reason is not None:
                break
            began = self.budget.now()
            self._step()
            self.clock.step_took(self.budget.now() - began)
            moment = self._moment()
            if self.steps_here == PACE_STEPS and self._is_paced and self.context.world.rank == 0:
                pace = self.examples_here / max(self.clock.steps_s, _TICK_S)
                refuse_less_than_a_pass(self.budget, pace, possible=self.examples_possible, seen=state.examples)
            self._show(task)
            if moment.is_checkpoint_due and not moment.is_stopped:
                self._checkpoint()
        if self.ranker is not None and state.validated_at < state.step and moment.fits_validation:
            self._validate(self.ranker)
        self._look_at_losses()
        if state.loss_targets:
            self._point()
        # Last, so that a stop in the validation above is not taken for the end of training.
        state.stopped_by = reason

    def _rehearse(self) -> None:
        """Have the harness time a ranking before the first step, so that its time is kept back from the start."""
        if self.ranker is None or self.state.stopped_by is not None:
            return
        self.module.eval()
        with whole(self.module):
            self.context.rehearse(self.ranker)
        self.module.train()

    @property
    def _is_paced(self) -> bool:
        """Whether the first steps decide if the budget is long enough."""
        return is_paced(self.budget) and self.ranker is not None and self.resumed_at is None

    def _refuse_untrained(self) -> None:
        """Raise an error where not a single step was made: with the seconds that would do, where steps can tell."""
        if self.state.step:
            return
        if self._is_paced and self.examples_possible:
            # Two steps that nobody keeps, of which the first is slow.
            for _ in range(2):
                self.examples_here, began = 0, self.budget.now()
                self._step()
            if self.context.world.rank == 0:
                pace = self.examples_here / max(self.budget.now() - began, _TICK_S)
                refuse_less_than_a_pass(self.budget, pace, possible=self.examples_possible, seen=0)
        raise Untrained(f"{self.name} {self.context.budget.used_up_before()}")

    def _moment(self) -> Moment:
        moment = self.clock.now(has_signal=self.signals.received is not None)
        self.state.seconds, self.state.cpu_seconds = moment.seconds, moment.cpu_seconds
        self.state.time_share = max(self.state.time_share, moment.time_share)
        return moment

    def _step(self) -> None:
        """One optimiser step on one global batch, and what follows from it for the state."""
        state, settings, world = self.state, self.settings, self.context.world
        batches = self._batches(state.epoch)
        batch = batches[state.batches_done]
        state.learning_rate = settings.learning_rate * state.rate_factor(settings, self._progress(), self._steps_left)
        for group in self.optimizer.param_groups:
            group["lr"] = state.learning_rate * group["rate_factor"]
        self.optimizer.zero_grad(set_to_none=True)
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        n_targets = 0
        for number in range(settings.accumulate):
            part = shard(batch, number * world.size + world.rank, settings.accumulate * world.size)
            if len(part) == 0:
                continue
            self._seed(derived_seed(self.context.seed, self.name, "step", state.step, world.rank, number))
            with _autocast(self.context):
                part_loss, part_targets = self.module(part)
            part_loss.backward()
            loss_sum += part_loss.detach()
            n_targets += int(part_targets)
        gradients = self._gradients()
        if world.size > 1:
            # One message with all gradients after the backward pass, not torch's wrapper, which takes the mean over ranks where we
            # need the sum over targets, and waits for ever for a rank whose part of the batch is empty.
            distributed.sum_in_place((gradient for gradient in gradients if not is_sharded(gradient)), world)
            total, count = distributed.sum_over_ranks(np.array([loss_sum.item(), n_targets], dtype=np.float64), world)
            loss_sum, n_targets = torch.tensor(total, dtype=torch.float64), int(count)
        for gradient in gradients:
            gradient.div_(max(n_targets, 1))
        if settings.clip_norm is not None:
            if any(map(is_sharded, self.parameters)):
                clip_norm(self.parameters, settings.clip_norm)
            else:
                nn.utils.clip_grad_norm_(self.parameters, settings.clip_norm)
        self.optimizer.step()

        state.step += 1
        state.batches_done += 1
        state.examples += n_targets
        state.epoch_examples += n_targets
        self.steps_here += 1
        self.examples_here += n_targets
        self.in_flight.append((state.step, loss_sum, n_targets))
        if self.device.type == "cpu" or len(self.in_flight) >= _LOSSES_IN_FLIGHT:
            self._look_at_losses()
        if state.step % settings.curve_every_steps == 0:
            self._look_at_losses()
            self._point()
        if state.batches_done >= self._epoch_length(batches) or state.epoch_examples >= (settings.examples_per_epoch or math.inf):
            state.epoch += 1
            state.batches_done = state.epoch_examples = 0
            if settings.validate_every_steps is None and state.epoch % settings.validate_every_epochs == 0:
                state.validation_due = True
        if settings.validate_every_steps is not None and state.step % settings.validate_every_steps == 0:
            state.validation_due = True

    def _seed(self, seed: int) -> None:
        """Set the generators that a step may draw from."""
        # Not torch.manual_seed: without an initialised GPU it keeps a stack trace of every call for later, at a millisecond each.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                torch.cuda.manual_seed(seed)

    def _gradients(self) -> list[Tensor]:
        """The gradients of all parameters; zeros where a part of the batch did not touch one, so that all ranks hold the same list."""
        gradients = []
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        return gradients

    def _batches(self, epoch: int) -> Sequence[Batch]:
        if self.epoch_batches is None or self.epoch_batches[0] != epoch:
            batches = self.batches(epoch)
            if len(batches) == 0:
                raise StageFailed(f"Epoch {epoch} of {self.name!r} has no batches: the train part holds no example. Check the data set.")
            self.epoch_batches = (epoch, batches)
        return self.epoch_batches[1]

    def _epoch_length(self, batches: Sequence[Batch]) -> int:
        return min(len(batches), self.settings.steps_per_epoch or len(batches))

    def _epochs(self) -> float:
        """Passes done, the current one as a fraction."""
        state = self.state
        if state.batches_done == 0:
            return float(state.epoch)
        share = state.batches_done / self._epoch_length(self._batches(state.epoch))
        if self.settings.examples_per_epoch is not None:
            share = max(share, state.epoch_examples / self.settings.examples_per_epoch)
        return state.epoch + share

    def _progress(self) -> float:
        """How much of the training is done, 0 to 1, by the bound that comes first."""
        state, budget = self.state, self.budget
        shares = [self._epochs() / self.max_epochs, state.time_share, state.step / self.max_steps]
        if budget.unit in ("steps", "examples"):
            shares.append((state.step if budget.unit == "steps" else state.examples) / max(budget.limit, 1.0))
        return min(max(shares), 1.0)

    def _steps_left(self) -> float:
        """Steps to come: known where a number of steps or epochs ends training, else by how fast the budget is used up."""
        progress = self._progress()
        if progress > 0.0 and self.state.step > 0:
            return max(round(self.state.step / progress) - self.state.step, 0)
        bounds = [self.max_epochs * self._epoch_length(self._batches(self.state.epoch)), self.max_steps]
        bounds += [math.ceil(self.budget.limit)] if self.budget.unit == "steps" else []
        return min(bounds)

    def _reason_to_stop(self, moment: Moment) -> str | None:
        state, settings, budget = self.state, self.settings, self.budget
        if state.without_gain >= settings.validations_without_gain(self.budget):
            return "patience"
        if state.epoch >= self.max_epochs or state.step >= self.max_steps:
            return "done"
        if self._is_paced and self.steps_here < PACE_STEPS and budget.used_s() < budget.amount:
            return None  # even where the ranking leaves no time for them: it takes a few steps to say what budget would do
        is_spent = not budget.is_timed and budget.is_spent(steps=state.step, examples=state.examples)
        return "budget" if is_spent or not moment.fits_step else None

    def _validate(self, ranker: Ranker) -> None:
        """Rank the validation users with the present weights and keep these if they are among the best."""
        self._look_at_losses()
        state = self.state
        began = self.budget.now()
        self.module.eval()
        # Under torchrun the ranks rank together, and one that left would leave the others waiting.
        with self.signals.breakable() if self.context.world.size == 1 else nullcontext(), whole(self.module):
            result = self.context.validate(ranker)
        self.module.train()
        validation_s = self.budget.now() - began
        of_all_users = max(len(self.context.train) / max(result.n_users, 1), 1.0)
        self.clock.validation_took(validation_s, 2 * validation_s * of_all_users if result.is_subset else 0.0)
        state.is_subset, state.metric = result.is_subset, result.metric
        value = result.value
        is_best = not state.candidates or value > state.candidates[0].value
        state.without_gain = 0 if is_best else state.without_gain + 1
        state.validated_at = state.step
        # Sorting is stable: of equal values the earlier step stays ahead.
        ranked = sorted([*state.candidates, Candidate(state.step, value)], key=lambda candidate: -candidate.value)
        state.candidates = ranked[: 2 if result.is_subset else 1]
        self.kept = {
            candidate.step: trained_weights(self.module) if candidate.step == state.step else self.kept[candidate.step]
            for candidate in state.candidates
        }
        self._point(dict(result.metrics))

    def _choose(self) -> dict[str, float | int | str]:
        """Put the best weights back; two candidates that a subset of users named are compared over all users first."""
        state = self.state
        if not state.candidates or self.ranker is None:
            return {"step": state.step}
        best = state.candidates[0]
        if state.is_subset and self._moment().fits_choice:
            with self.signals.breakable() if self.context.world.size == 1 else nullcontext():
                over_all = [Candidate(candidate.step, self._value_over_all(candidate, self.ranker)) for candidate in state.candidates]
            best = max(over_all, key=lambda candidate: candidate.value)
        self._load(self.kept[best.step])
        return {"step": best.step, self.state.metric: best.value}

    def _value_over_all(self, candidate: Candidate, ranker: Ranker) -> float:
        self._load(self.kept[candidate.step])
        self.module.eval()
        with whole(self.module):
            return float(self.context.validate(ranker, all_users=True).value)

    def _look_at_losses(self) -> None:
        """Add the losses not looked at yet to the curve's mean, and stop at one that is not a number."""
        state = self.state
        if not self.in_flight:
            return
        values = torch.stack([loss for _, loss, _ in self.in_flight]).tolist()
        for (step, _, n_targets), value in zip(self.in_flight, values, strict=True):
            if not math.isfinite(value):
                raise StageFailed(
                    f"{self.name}: the loss of step {step} is {value}. Training diverged at a learning rate of "
                    f"{self.settings.learning_rate:g}: try a lower one, such as "
                    f"--set training.learning_rate={self.settings.learning_rate / 3:.1g}, a longer warm-up or training.clip_norm=1."
                )
            state.loss_sum += value
            state.loss_targets += n_targets
        self.in_flight.clear()
        if state.loss_targets:
            self.last_loss = state.loss_sum / state.loss_targets

    def _point(self, validation: dict[str, float] | None = None) -> None:
        """Add a point to the curve: the mean loss per target since the last one."""
        state = self.state
        if validation is not None and state.curve and state.curve[-1].step == state.step:
            state.curve[-1].validation = validation
        else:
            loss = state.loss_sum / state.loss_targets if state.loss_targets else None
            state.loss_sum, state.loss_targets = 0.0, 0
            state.curve.append(CurvePoint(state.step, self._epochs(), state.seconds, loss, state.learning_rate, validation, self.name))
        self.context.note(state.curve[-1], examples=state.examples, validations=sum(point.validation is not None for point in state.curve))

    def _show(self, task: Task) -> None:
        task.advance()
        now = time.monotonic()
        if now - self.last_shown < _SHOW_EVERY_S:
            return
        self.last_shown = now
        best = f", {self.state.metric} {self.state.candidates[0].value:.4f}" if self.state.candidates else ""
        rate = self.examples_here / max(self.clock.steps_s, 1e-9)
        task.show(f"loss {self.last_loss:.4f}{best}, {rate:,.0f} targets/s")
        if (left := finite(self._steps_left())) is not None:
            task.total(self.steps_here + left)

    def _identity(self) -> dict[str, Any]:
        """Circumstances that a checkpoint must share to be of use."""
        return {
            "name": self.name,
            "settings": self.settings.model_dump(mode="json"),
            # What is left for an auxiliary training depends on the clock.
            "budget": self.budget.unit if self.budget.is_auxiliary else str(self.context.budget),
            "seed": self.context.seed,
            "world_size": self.context.world.size,
            "shapes": {name: list(parameter.shape) for name, parameter in self.module.named_parameters() if parameter.requires_grad},
        }

    def _checkpoint(self) -> None:
        """Write all that going on needs; rank 0 writes, the others wait."""
        self._look_at_losses()
        if self.context.world.rank == 0 or any(map(is_sharded, self.parameters)):
            tensors = {"weights": trained_weights(self.module), "optimizer": optimizer_tensors(self.optimizer)}
        if self.context.world.rank == 0:
            tensors |= {f"candidate-{step}": weights for step, weights in self.kept.items()}
            self.folder.write({"identity": self._identity(), "state": STATE.dump_python(self.state, mode="json")}, tensors)
        distributed.barrier(self.context.world)
        self.clock.checkpoint_written()

    def _stop(self) -> NoReturn:
        """Obey a signal."""
        self._checkpoint()
        raise Interrupted(
            f"{self.name} was stopped by {self.signals.received or 'a signal to another process'} after step {self.state.step}. "
            "A checkpoint is written; the same command goes on from there."
        )

    def _resume(self) -> None:
        """Go on from the newest sound checkpoint, if there is one; rank 0 says which, for all."""
        name = self.folder.newest() if self.context.world.rank == 0 else None
        name = distributed.broadcast(name, self.context.world)
        if name is None:
            return
        checkpoint = self.folder.read(name)
        if checkpoint.state["identity"] != self._identity():
            self.context.log.warning("the checkpoint in %s belongs to other settings; training begins anew", self.folder.folder)
            return
        self.state = STATE.validate_python(checkpoint.state["state"])
        self._load(checkpoint.tensors["weights"])
        load_optimizer_tensors(self.optimizer, checkpoint.tensors["optimizer"])
        self.kept = {candidate.step: checkpoint.tensors[f"candidate-{candidate.step}"] for candidate in self.state.candidates}
        before = Elapsed(self.state.seconds, self.state.cpu_seconds)
        self.clock = Clock(
            self.budget,
            self.context.world,
            self.settings.checkpoint_every_s,
            before=before,
            before_share=self.state.time_share,
        )
        self.resumed_at = self.state.step
        # A stop must not buy training time: what the attempts before took counts.
        self.budget.charge_attempt(before)
        self.context.log.info("resumed at step %d", self.state.step)

    def _load(self, weights: dict[str, Tensor]) -> None:
        # Not strict: weights that need no gradient are not in a checkpoint.
        self.module.load_state_dict(scattered(weights, dict(self.module.named_parameters())), strict=False)


def _autocast(context: FitContext) -> AbstractContextManager[None]:
    """Mixed precision where the run asks for it."""
    if context.precision == "fp32":
        return nullcontext()
    device = torch.device(context.device)
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise BadRequest(f"{torch.cuda.get_device_name(device)} cannot compute in bf16. Repeat the command with fp32.")
    return torch.autocast(device.type, dtype=torch.bfloat16)
