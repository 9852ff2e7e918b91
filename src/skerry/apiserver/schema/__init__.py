"""What the kinds look like: built-ins from Kubernetes' published facts, custom kinds from their CRDs.

Everything here is pure: bytes and values in, values and causes out. The registry calls, in this order, `decode_body`,
`KindSchema.prune_unknown`, `reset_status` (create), `default`, `validate`.
"""

from __future__ import annotations

from skerry.apiserver.schema.catalogue import Catalogue
from skerry.apiserver.schema.codec import decode_body
from skerry.apiserver.schema.fields import field_labels, supported_fields
from skerry.apiserver.schema.kind import KindSchema
from skerry.apiserver.schema.openapi import OpenApi
from skerry.apiserver.schema.resources import ServedResource, Subresource, custom_resources
from skerry.apiserver.schema.shape import Shape
from skerry.apiserver.schema.table import TableFormat, table_format

__all__ = [
    "Catalogue",
    "KindSchema",
    "OpenApi",
    "ServedResource",
    "Shape",
    "Subresource",
    "TableFormat",
    "custom_resources",
    "decode_body",
    "field_labels",
    "supported_fields",
    "table_format",
]
