"""Which form of an answer a client wants, and in which form it sent a body. Pure; the answers are cached by header text."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from skerry.apiserver.http.bare import BareError
from skerry.model.errors import ApiError

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
MAX_HEADER = 4096
"""Accept headers longer than this are refused: bytes."""


class Form(NamedTuple):
    """`as_` is "", Table, PartialObjectMetadata, PartialObjectMetadataList or a discovery list; `version` goes with it."""

    media: str = JSON
    as_: str = ""
    version: str = ""
    group: str = ""


PLAIN = Form()
_META = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


@lru_cache(maxsize=256)
def choose(accept: str, *, also: tuple[str, ...] = ()) -> Form:
    """Return the form to answer in; ApiError 406 when no entry of *accept* can be served.

    *also* names further `as=` values that this route can serve.
    """
    if not accept or accept in ("*/*", JSON):
        return PLAIN
    if len(accept) > MAX_HEADER:
        raise ApiError(406, "NotAcceptable", f"the Accept header has more than {MAX_HEADER} characters")
    for entry in accept.split(","):
        found = _entry(entry, also)
        if found is not None:
            return found
    if not any(media in accept for media in (JSON, YAML, PROTOBUF)):
        available = [JSON, YAML, PROTOBUF, f"{JSON};stream=watch", f"{PROTOBUF};stream=watch"]
        raise BareError(406, "NotAcceptable", f"406: Not Acceptable\n\nAvailable representations: {', '.join(available)}")
    raise ApiError(406, "NotAcceptable", f"only the following media types are accepted: {JSON}, {YAML}, {PROTOBUF}")


def _entry(entry: str, also: tuple[str, ...]) -> Form | None:
    media, *parameters = (part.strip() for part in entry.split(";"))
    values = dict(p.partition("=")[::2] for p in parameters)
    media = media.lower()
    if media in ("*/*", "application/*"):
        media = JSON
    if media not in (JSON, YAML):
        return None
    as_ = values.get("as", "")
    if not as_:
        return Form(media)
    if as_ in also or (as_ in _META and values.get("g") == "meta.k8s.io" and values.get("v") in ("v1", "v1beta1")):
        return Form(media, as_, values.get("v", ""), values.get("g", ""))
    return None


def body_media(content_type: str) -> str:
    """Return the media type without parameters; none means JSON."""
    return content_type.partition(";")[0].strip().lower() or JSON
