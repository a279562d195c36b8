"""cmap in sync: every node tells its totem.config_version; a newcomer with an older file leaves (sheet §8.8)."""

from __future__ import annotations

from totemviz.corosync import layouts
from totemviz.corosync.service import Core
from totemviz.corosync.wire import CMAP, CmapItem, CmapMcast, ServiceMessage
from totemviz.totem.effects import Level, RingId

CONFIG_VERSION = b"totem.config_version"
KIND_U64 = 8
REASON_SYNC = 0


class Cmap:
    """The part of the configuration map that other nodes see. Source: ``cmap.c: cmap_sync_*``."""

    service_id = CMAP
    name = "corosync configuration map access"

    def __init__(self, core: Core, config_version: int) -> None:
        self._core = core
        self._config_version = config_version
        self._highest = config_version
        self._has_company = False
        self._first_sync = True

    def set_config_version(self, version: int) -> None:
        """Another file is in force (``cmap.c: cmap_config_version_track_cb``); others hear of it at the next sync."""
        self._config_version = version

    def sync_init(self, transitional: tuple[int, ...], members: tuple[int, ...], ring_id: RingId) -> None:
        """Forget what other nodes said in earlier rings."""
        self._has_company = bool(transitional)
        self._highest = self._config_version

    def sync_process(self) -> bool:
        """Send the version, or that there is none."""
        item = CmapItem(CONFIG_VERSION, 0, b"")
        if self._config_version:
            item = CmapItem(CONFIG_VERSION, KIND_U64, self._config_version.to_bytes(8, "little"))
        body = CmapMcast(REASON_SYNC, (item,)).encode()
        self._core.multicast(body[: layouts.CMAP.size], body[layouts.CMAP.size :])
        return True

    def sync_activate(self) -> None:
        """At the first sync in company: leave if another node has a newer file."""
        if not self._has_company:
            self._log("Single node sync -> no action")
        elif not self._first_sync:
            self._log("Not first sync -> no action")
        else:
            self._first_sync = False
            if not self._config_version:
                self._log("My config version is 0 -> no action")
            elif self._highest != self._config_version:
                text = (
                    f"Received config version ({self._highest}) is different than my config version "
                    f"({self._config_version})! Exiting"
                )
                self._core.log(Level.ERROR, "CMAP", text)
                self._core.exit(text)

    def sync_abort(self) -> None:
        """Nothing is kept between rings."""

    def deliver(self, source: int, message: ServiceMessage, seq: int) -> None:
        """Remember the highest version."""
        if not isinstance(message, CmapMcast) or message.reason != REASON_SYNC:
            return
        order = "little" if message.little else "big"
        for item in message.items:
            if item.key == CONFIG_VERSION and item.kind == KIND_U64:
                version = int.from_bytes(item.value, "little" if order == "little" else "big")
                self._highest = max(self._highest, version)

    def _log(self, text: str) -> None:
        self._core.log(Level.DEBUG, "CMAP", text)
