# SPDX-License-Identifier: Apache-2.0
"""What a keeper does before all else when a change of the logs' keys was decided."""

from countermark.app.data_dir import DataDir
from countermark.app.instance import load_instance
from countermark.ports.clock import Clock, Entropy


def finish_switch(
    data_dir: DataDir, clock: Clock, entropy: Entropy, passphrase: bytes | None
) -> None:
    """Freeze the open logs and open the next ones, if `app.rotation` decided so. Blocks.

    Killed, it goes on at the next start. Raises SettingsError, FormatError, Unavailable,
    InvariantBroken, OSError.
    """
    if not data_dir.instance_file.exists():
        return  # there is none, which whoever opens it says better
    rotation = load_instance(data_dir.instance_file).rotation_of("log")
    if rotation is not None and rotation.step == "switching":
        data_dir.check_secrecy()
        # What follows takes libraries that running an instance does without.
        from countermark.app.shards import open_next_shards

        open_next_shards(data_dir, clock, entropy, passphrase=passphrase)
