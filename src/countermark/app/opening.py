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
    if data_dir.unfinished_file.exists():  # a crash can leave it beside the version
        data_dir.unfinished_file.unlink()
    data_dir.check_secrecy()
    return load_instance(data_dir.instance_file)
