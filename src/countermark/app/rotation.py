# SPDX-License-Identifier: Apache-2.0
"""Changes the key of any service of an instance, in the one order that nobody notices.

    made       the next key is there, with a certificate where one is needed
    published  clients are told of both keys through TUF; the old one signs on
    switching  the time to wait is over: instance.json names the next key, the keeper starts anew
    switched   the next key signs; the old one's validity has its end
    (none)     clients are told of that end; what the old key signed stays valid

Each step is written to instance.json, in one replacement of the file, before the next one begins,
and each can be done again: killed anywhere, `advance` goes on. A key that clients were told of is
never exchanged for another one on the way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import msgspec

from countermark.app.data_dir import DataDir
from countermark.app.instance import (
    InstanceConfig,
    NextLog,
    Rotated,
    Rotation,
    Service,
    ServiceKey,
    load_instance,
    save_instance,
)
from countermark.core.errors import InvariantBroken, SettingsError
from countermark.core.identity.profile import LIFETIME_S
from countermark.ports.clock import Clock

SERVICES: Final[tuple[Rotated, ...]] = ("ca", "tsa", "log", "login", "tuf")
WAIT: Final = timedelta(days=7)
"""The lifetime of a TUF timestamp: who is offline for longer is told that its trust expired."""
_AFTERLIFE: Final[dict[Service, timedelta]] = {
    # Certificates sign for as long as they live, and the CA must be valid at that time.
    "ca": timedelta(seconds=LIFETIME_S),
    "tsa": timedelta(0),
    # Tokens live for ten minutes, and clocks differ.
    "login": timedelta(minutes=15),
    "tuf": timedelta(0),
}


class Hands(Protocol):
    """What has to happen outside instance.json, on an instance that runs or on one that does not.

    Everything can be asked for again.
    """

    def publish(self) -> None:
        """Publish the trust root as instance.json has it."""
        ...

    def publish_root(self) -> None:
        """Publish a TUF root that names the online keys that instance.json has now."""
        ...

    def switch(self, decided: datetime) -> datetime:
        """Have the keys used that instance.json has since `decided`.

        Returns a moment after the last use of older ones.
        """
        ...


@dataclass(frozen=True, slots=True)
class Material:
    """What a rotation begins with: the next key of a service, or the next logs.

    Attributes:
        keys: of the service: the next one, and before it the first if it is not listed yet.
        logs: the next logs.
    """

    keys: tuple[ServiceKey, ...] = ()
    logs: tuple[NextLog, ...] = ()


class Rotator:
    """Takes one instance through rotations. Whoever uses it holds keys.lock."""

    def __init__(self, data_dir: DataDir, hands: Hands, clock: Clock) -> None:
        self._file = data_dir.instance_file
        self._hands = hands
        self._clock = clock

    def begin(self, service: Rotated, make: Callable[[InstanceConfig], Material]) -> None:
        """Make the next key, unless a rotation is under way: then that one is to go on.

        Args:
            service: whose.
            make: makes it; files that a killed run left are nobody's and may be replaced.

        Raises what `make` does.
        """
        config = self.config()
        if config.rotation_of(service) is not None:
            return
        material = make(config)
        others = tuple(key for key in config.keys if key.service != service)
        rotation = Rotation(service=service, step="made", at=self._now())
        self._save(
            config,
            keys=(*others, *material.keys) if material.keys else config.keys,
            next_logs=material.logs or config.next_logs,
            rotations=(*config.rotations, rotation),
        )

    def advance(
        self, service: Rotated, *, wait: timedelta = WAIT, at_once: bool = False
    ) -> Rotation | None:
        """Go on as far as it goes; where it stands then, None if it is done.

        Args:
            service: whose.
            wait: how long clients get to learn of the key, from its publication on.
            at_once: do not wait for them.

        Raises SettingsError, Unavailable; it can be tried again.
        """
        while (rotation := self.config().rotation_of(service)) is not None:
            if rotation.step == "made":
                self._publish(service)
                now = self._now()
                self._step(service, "published", wait_until=now + wait)
            elif rotation.step == "published":
                assert rotation.wait_until is not None
                if not at_once and self._now() < rotation.wait_until:
                    return rotation
                self._take_into_use(service)
            elif rotation.step == "switching":
                end = self._hands.switch(rotation.at)
                if service != "log":  # which ends its rotation together with the old logs
                    self._end_old(service, end)
            else:
                self._publish(service)
                self._finish(service)
        return None

    def abandon(self, service: Rotated) -> None:
        """Take back a rotation whose key was not used yet. Raises SettingsError if it was."""
        config = self.config()
        rotation = config.rotation_of(service)
        if rotation is None:
            raise SettingsError(f"no rotation of {service} is under way")
        if rotation.step not in ("made", "published"):
            error = SettingsError(f"the next key of {service} is in use already")
            error.add_note("finish with --continue, and rotate once more if that key is bad")
            raise error
        keys = tuple(key for key in config.keys if key.service != service or key.state != "next")
        logs = () if service == "log" else config.next_logs
        rotations = tuple(item for item in config.rotations if item.service != service)
        self._save(config, keys=keys, next_logs=logs, rotations=rotations)
        self._publish(service)

    def config(self) -> InstanceConfig:
        """instance.json as it is."""
        return load_instance(self._file)

    def _publish(self, service: Rotated) -> None:
        if service == "tuf":
            self._hands.publish_root()
        else:
            self._hands.publish()

    def _take_into_use(self, service: Rotated) -> None:
        config = self.config()
        if service != "log" and not any(key.state == "next" for key in config.keys_of(service)):
            raise InvariantBroken(f"instance.json lists no next key of {service}")

        def turned(key: ServiceKey) -> ServiceKey:
            if key.service != service or key.state == "old":
                return key
            state = "active" if key.state == "next" else "old"
            return msgspec.structs.replace(key, state=state)

        self._step(service, "switching", keys=tuple(map(turned, config.keys)))

    def _end_old(self, service: Service, end: datetime) -> None:
        # Whole seconds, and none too few: windows overlap rather than leave a gap.
        whole = end.replace(microsecond=0) + timedelta(seconds=1) + _AFTERLIFE[service]

        def ended(key: ServiceKey) -> ServiceKey:
            if key.service != service or key.state != "old" or key.end is not None:
                return key
            return msgspec.structs.replace(key, end=whole)

        keys = tuple(map(ended, self.config().keys))
        self._step(service, "switched", keys=keys)

    def _finish(self, service: Rotated) -> None:
        config = self.config()
        rotations = tuple(item for item in config.rotations if item.service != service)
        self._save(config, rotations=rotations)

    def _step(
        self,
        service: Rotated,
        step: str,
        *,
        wait_until: datetime | None = None,
        keys: tuple[ServiceKey, ...] | None = None,
    ) -> None:
        config = self.config()
        now = self._now()
        changed = tuple(
            msgspec.structs.replace(item, step=step, at=now, wait_until=wait_until)
            if item.service == service
            else item
            for item in config.rotations
        )
        self._save(config, rotations=changed, keys=config.keys if keys is None else keys)

    def _save(self, config: InstanceConfig, **changes: object) -> None:
        changed = msgspec.structs.replace(config, **changes)
        # What cannot be read back is never written.
        save_instance(self._file, InstanceConfig.parse(changed.serialize()))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() // 1000, UTC)
