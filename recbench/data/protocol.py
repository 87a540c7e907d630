"""How events are divided: a rule with its options, as `--protocol` names it. Light, for whoever only speaks of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recbench.core.errors import BadConfig, nearest

if TYPE_CHECKING:
    from recbench.data.dataset import Dataset
    from recbench.data.parts import Parts


USERS = "users"
"""Option of rules over users: how many of them are asked."""
NOT_DRAWN = "test users not drawn"
"""Note of a split that asks only some of the users: how many others have a target."""


@dataclass(frozen=True)
class SplitRule:
    """A way to divide events, as a task offers it.

    Attributes:
        name: what it is called in `--protocol`.
        cut: divides a data set; the options are those of `defaults`, with what the user says.
        needs: sizes that users need, as a sentence for data where nobody is left to be asked.
        defaults: options and their values where nobody says. One whose default is a whole number takes whole numbers alone.
        check: raises a `BadConfig` for options that are impossible.
        seed_option: option that draws another split; boards sum up over its values. None: there is one split.
        may_ask_fewer: whether the option `users` may restrict the queries to so many users, drawn by their ids.
        needs_seconds: what is missing where times are not seconds and what to use, as the end of a sentence; None: any times will do.
    """

    name: str
    cut: "Callable[[Dataset, Mapping[str, Any]], Parts]"
    needs: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    check: Callable[[Mapping[str, Any]], None] = lambda options: None  # noqa: ARG005 (most rules take any value)
    seed_option: str | None = None
    may_ask_fewer: bool = False
    needs_seconds: str | None = None


@dataclass(frozen=True)
class SplitProtocol:
    """How events are divided.

    Attributes:
        rule: the way to divide them.
        options: of the rule; those that are not named have its defaults.
        ties: `source` keeps the order of events of equal user and time; `shuffle=SEED` shuffles them.
    """

    rule: SplitRule
    options: Mapping[str, Any] = field(default_factory=dict)
    ties: str = "source"

    def __post_init__(self) -> None:
        known = self.rule.defaults
        # Named where it is asked for alone: whoever does not has the protocol of always.
        allowed = [*known, *([USERS] if self.rule.may_ask_fewer else [])]
        for key in self.options:
            if key not in allowed:
                raise BadConfig(
                    f"The protocol {self.name!r} has no option {key!r}.{nearest(key, allowed)} Known: {', '.join(allowed) or 'none'}."
                )
        # One spelling per protocol: a board would take seed=0 and seed=0.0 for two.
        given = {key: self._whole(key, value) if isinstance(known.get(key, 0), int) else value for key, value in self.options.items()}
        if given.get(USERS) == 0:
            raise BadConfig(f"--protocol {self.name}: users=0 leaves nobody to be asked. Write for example {self.name}:users=100000")
        object.__setattr__(self, "options", {**known, **given})
        seed = self.tie_seed()
        # One spelling per order of ties: a board would take shuffle=01 and shuffle=1 for two protocols.
        object.__setattr__(self, "ties", "source" if seed is None else f"shuffle={seed}")
        self.rule.check(self.options)

    @classmethod
    def parse(cls, text: str, rules: Mapping[str, SplitRule], ties: str = "source") -> "SplitProtocol":
        """One of some rules by name, with options, such as `temporal:quantile=0.8,targets=all`."""
        name, _, rest = text.partition(":")
        name = name.strip()
        if name not in rules:
            raise BadConfig(f"--protocol {name!r} is not known.{nearest(name, rules)} Known: {', '.join(rules)}.")
        options: dict[str, Any] = {}
        for part in filter(None, rest.split(",")):
            key, equals, value = part.partition("=")
            if not equals:
                raise BadConfig(f"--protocol {text!r}: {part!r} is not of the form key=value. Write for example {name}:key=0.9")
            try:
                options[key.strip()] = float(value)
            except ValueError:
                options[key.strip()] = value.strip()
        return cls(rules[name], options, ties)

    def _whole(self, key: str, value: Any) -> int:
        if not isinstance(value, int | float) or not math.isfinite(value) or value != int(value) or value < 0:
            raise BadConfig(f"--protocol {self.name}: {key}={value} is no whole number from 0. Write for example {self.name}:{key}=0")
        return int(value)

    @property
    def name(self) -> str:
        """Name of the rule."""
        return self.rule.name

    @property
    def n_asked(self) -> int | None:
        """How many users are asked at most; None: all whom the rule gives a query."""
        return self.options.get(USERS)

    def identity(self) -> dict[str, Any]:
        """Name, options and order of ties: equal for equal splits."""
        return {"name": self.name, "options": dict(self.options), "ties": self.ties}

    def __str__(self) -> str:
        return self.name + (":" + ",".join(f"{key}={value}" for key, value in self.options.items()) if self.options else "")

    def tie_seed(self) -> int | None:
        """Seed of the shuffle of ties; None where they stay as they are."""
        if self.ties == "source":
            return None
        word, _, seed = self.ties.partition("=")
        if word != "shuffle" or not seed.isdecimal():
            raise BadConfig(f"--ties {self.ties!r} is not understood. Write source or shuffle=SEED, such as shuffle=1.")
        return int(seed)
