"""The API's store: durable, in memory for readers, with a history for watchers."""

from skerry.apiserver.store.epochs import start_new_epoch
from skerry.apiserver.store.errors import ConflictError, ExistsError, MissingError, RefusedError, TooOldError
from skerry.apiserver.store.examining import Examined, examine
from skerry.apiserver.store.keyring import KeyRingError, merge_rings
from skerry.apiserver.store.records import Change, ChangeType, Index, Key, Record, Snapshot
from skerry.apiserver.store.rotation import KeyUse, Rotation
from skerry.apiserver.store.scrub import Report, Scrub
from skerry.apiserver.store.store import Foreseer, Store
from skerry.apiserver.store.vault import RingVault, Vault
from skerry.apiserver.store.watcher import NAME, Only, Watcher

__all__ = [
    "NAME",
    "Change",
    "ChangeType",
    "ConflictError",
    "Examined",
    "ExistsError",
    "Foreseer",
    "Index",
    "Key",
    "KeyRingError",
    "KeyUse",
    "MissingError",
    "Only",
    "Record",
    "RefusedError",
    "Report",
    "RingVault",
    "Rotation",
    "Scrub",
    "Snapshot",
    "Store",
    "TooOldError",
    "Vault",
    "Watcher",
    "examine",
    "merge_rings",
    "start_new_epoch",
]
