# SPDX-License-Identifier: Apache-2.0
"""Opens the data directory of an instance that exists. Apart from `init`, for its few imports."""

from countermark.app.data_dir import DataDir, State
from countermark.app.instance import InstanceConfig, load_instance
from countermark.core.errors import SettingsError


def open_instance(data_dir: DataDir) -> InstanceConfig:
    """The configuration of a complete instance whose secrets nobody else can reach.

    Raises SettingsError, InvariantBroken.
    """
    if data_dir.state() is not State.COMPLETE:
        raise SettingsError(f"there is no instance in {data_dir.path}: run countermark init")
    for marker in (data_dir.unfinished_file, data_dir.restoring_file):
        if marker.exists():  # a crash can leave it beside the version
            marker.unlink()
    if data_dir.next_shards_file.exists():
        # Clients were perhaps told of the new logs, so the old ones must take nothing more.
        halfway = SettingsError(f"new shards are being opened in {data_dir.path}")
        halfway.add_note("if nobody is at it, run countermark log shard again: it goes on")
        raise halfway
    data_dir.check_secrecy()
    return load_instance(data_dir.instance_file)
