# SPDX-License-Identifier: Apache-2.0
"""Brings a data directory that an earlier release wrote to this release's layout.

Each step leads from one layout to the next and can be done again: killed anywhere, the next run
begins with the step whose number still stands in the version file, which is written last.
Layouts, and what each one added:

1   the first
2   instance.json says of each log whether it is frozen
3   instance.json says which keys services have had, and which are being changed
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from countermark.app.data_dir import VERSION, DataDir
from countermark.app.instance import load_instance, save_instance

Say: TypeAlias = Callable[[str], None]
"""Told what takes a while or changes something, a sentence each."""


class Step(NamedTuple):
    """How one layout becomes the next.

    Attributes:
        does: what changes, for the operator.
        run: does it; harmless if it was done before. Raises OSError and any of our errors.
    """

    does: str
    run: Callable[[DataDir], None]


def _write_instance_anew(data_dir: DataDir) -> None:
    # Reading fills in what the older layout did not say, writing says it.
    save_instance(data_dir.instance_file, load_instance(data_dir.instance_file))


STEPS: Final[dict[int, Step]] = {
    1: Step("instance.json notes which logs are frozen", _write_instance_anew),
    2: Step("instance.json notes which keys are in use", _write_instance_anew),
}
"""By the number of the layout that each begins with."""


def upgrade(data_dir: DataDir, say: Say) -> None:
    """Take every step that is missing. The caller holds the lock of a complete directory.

    Raises SettingsError for a newer layout, OSError if the directory cannot be written.
    """
    version = data_dir.version()
    assert version is not None, "only complete directories are upgraded"
    for number in range(version, VERSION):
        take_step(data_dir, number, say)
        data_dir.write_version(number + 1)


def take_step(data_dir: DataDir, number: int, say: Say) -> None:
    """Lead a directory from layout `number` to the next, without writing its number."""
    step = STEPS[number]
    say(f"upgrading {data_dir.path} from layout {number} to {number + 1}: {step.does}")
    step.run(data_dir)
