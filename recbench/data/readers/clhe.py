"""Bundles as the authors of CLHE published them (arXiv:2310.18770): divided already, numbers for ids, matrices of features.

Text files have a line for each bundle or user, `id, item, item, ...`. Roles: `count` (sizes), `train`, `valid_input`, `valid_targets`,
`test_input`, `test_targets`; `feedback`, `items` (an object of fields by item) and `features:NAME` (a matrix, its row r about item r) may
be missing. The file of all bundles whole is never opened: it holds the answers.
"""

import json
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from recbench.core.config import PluginConfig
from recbench.core.errors import BadData
from recbench.core.interactions import StringArray
from recbench.core.progress import Progress
from recbench.data.feature_files import read_features
from recbench.data.lines import lines, parse_json
from recbench.data.reader import Files, RawCut, RawEvents, RawItems, RawSide, each_once, string_array

_GET_AGAIN = "The file was altered or is of another data set; get it again."
_Sets = dict[int, list[int]]


class ClheOptions(PluginConfig):
    """Where texts stand."""

    columns: dict[str, str] = Field(default_factory=dict)
    """Field of an item in the file of role `items` by text column, such as `title = "track_name"`."""


class ClheReader:
    """A row of the data set is a bundle; all items that the sizes tell of are in the catalogue, in a bundle or not."""

    options = ClheOptions
    needs = ("count", "train", "valid_input", "valid_targets", "test_input", "test_targets")
    has_complete_items = True

    def events(self, files: Files, options: ClheOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """One entry for each bundle and item; what is shown and what is asked for of a held bundle stand together."""
        sizes = _sizes(files["count"])
        bundles, items = array("i"), array("i")
        for role in self.needs[1:]:
            for bundle, members in _sets(files[role], sizes["#B"], sizes["#I"], progress).items():
                bundles.extend([bundle] * len(members))
                items.extend(members)
        return each_once(_pairs(bundles, items, sizes["#B"], sizes["#I"]))

    def items(
        self,
        files: Files,
        options: ClheOptions,
        columns: Sequence[str],
        wanted: Collection[str],  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> RawItems:
        """All items that the sizes tell of, with the texts that `columns` of the options name."""
        ids = _ids(_sizes(files["count"])["#I"]).tolist()
        if "items" not in files:
            return RawItems(ids, {})
        fields = _object(files["items"])
        chosen = {name: options.columns[name] for name in columns if name in options.columns}
        return RawItems(ids, {name: [_text(fields.get(item), key) for item in ids] for name, key in chosen.items()})

    def side(self, files: Files, options: ClheOptions, progress: Progress) -> RawSide:  # noqa: ARG002
        """Feedback, matrices and the division as it was published."""
        sizes = _sizes(files["count"])
        cut = _cut(files, sizes, progress)
        feedback = _feedback(files["feedback"], sizes, progress) if "feedback" in files else None
        return RawSide(feedback=feedback, features=read_features(files, _ids(sizes["#I"]).tolist()), cut=cut)


def _few(bundles: Sequence[int]) -> str:
    return ", ".join(str(bundle) for bundle in bundles[:3]) + (", ..." if len(bundles) > 3 else "")


def _object(path: Path) -> Mapping[str, object]:
    return parse_json(path.read_bytes(), 1, path)


def _sizes(path: Path) -> dict[str, int]:
    """Numbers of users, bundles and items."""
    stated = _object(path)
    sizes = {key: stated.get(key) for key in ("#U", "#B", "#I")}
    wrong = [f"{key} = {json.dumps(value)}" for key, value in sizes.items() if type(value) is not int or value < 1]
    if wrong:
        raise BadData(f"{path.name}: {', '.join(wrong)}; a number of users, bundles and items was expected. {_GET_AGAIN}")
    return {key: value for key, value in sizes.items() if isinstance(value, int)}


def _numbered(path: Path, most_ids: int, n_items: int, progress: Progress) -> Iterator[tuple[int, list[int]]]:
    """Id and items of each line."""
    for number, line in lines(path, progress):
        try:
            first, *items = (int(text) for text in line.split(b","))
        except ValueError:
            shown = line[:40].decode("utf-8", "backslashreplace").strip()
            raise BadData(
                f"{path.name}, line {number}: {shown!r} is not an id and item numbers with commas between. {_GET_AGAIN}"
            ) from None
        if not 0 <= first < most_ids or (items and not 0 <= min(items) <= max(items) < n_items):
            raise BadData(
                f"{path.name}, line {number} names the id {first} or items outside of the {most_ids:,} ids and {n_items:,} items of the "
                f"file of sizes. {_GET_AGAIN}"
            )
        yield first, items


def _sets(path: Path, n_bundles: int, n_items: int, progress: Progress) -> _Sets:
    """Items by bundle."""
    sets: _Sets = {}
    for bundle, items in _numbered(path, n_bundles, n_items, progress):
        if bundle in sets:
            raise BadData(f"{path.name}: bundle {bundle} has two lines. {_GET_AGAIN}")
        sets[bundle] = items
    return sets


def _cut(files: Files, sizes: Mapping[str, int], progress: Progress) -> RawCut:
    """The division of the files; what is shown is not asked for."""
    part = {str(bundle): "train" for bundle in _sets(files["train"], sizes["#B"], sizes["#I"], progress)}
    shown_pairs: set[tuple[str, str]] = set()
    for name in ("valid", "test"):
        inputs, targets = files[f"{name}_input"], files[f"{name}_targets"]
        shown, asked = (_sets(file, sizes["#B"], sizes["#I"], progress) for file in (inputs, targets))
        odd = sorted(set(shown) ^ set(asked))
        if odd:
            raise BadData(f"{inputs.name} and {targets.name} are about different bundles: {_few(odd)}. {_GET_AGAIN}")
        both = sorted(bundle for bundle in shown if set(shown[bundle]) & set(asked[bundle]))
        if both:
            raise BadData(f"{targets.name} asks for items that {inputs.name} shows, in the bundles {_few(both)}. {_GET_AGAIN}")
        doubled = sorted(bundle for bundle in shown if str(bundle) in part)
        if doubled:
            raise BadData(f"{inputs.name} names bundles of another part: {_few(doubled)}. {_GET_AGAIN}")
        part.update((str(bundle), name) for bundle in shown)
        shown_pairs.update((str(bundle), str(item)) for bundle, items in shown.items() for item in items)
    return RawCut(part, shown_pairs)


def _feedback(path: Path, sizes: Mapping[str, int], progress: Progress) -> RawEvents:
    """Pairs of a user and an item, repeats as they stand; a user may have several lines."""
    users, items = array("i"), array("i")
    for user, used in _numbered(path, sizes["#U"], sizes["#I"], progress):
        users.extend([user] * len(used))
        items.extend(used)
    return _pairs(users, items, sizes["#U"], sizes["#I"])


def _pairs(left: "array[int]", right: "array[int]", n_left: int, n_right: int) -> RawEvents:
    """Pairs by the ids 0 to n-1 of both sides."""
    first, second = (np.frombuffer(numbers, np.int32) if numbers else np.empty(0, np.int32) for numbers in (left, right))
    return RawEvents(first, second, _ids(n_left), _ids(n_right), None)


def _text(fields: object, key: str) -> str | None:
    """A field of an item; parts of a list behind commas, null where the item or the field is missing."""
    value = fields.get(key) if isinstance(fields, dict) else None
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    return None if value is None else str(value)


def _ids(count: int) -> StringArray:
    return string_array(str(number) for number in range(count))


READER = ClheReader()
