"""What is packed inside a report's page."""

import base64
import gzip
import json
import re

import numpy as np


def unpack(html: str, name: str) -> bytes:
    found = re.search(rf'id="data-{name}">([A-Za-z0-9+/=]+)</script>', html)
    return gzip.decompress(base64.b64decode(found[1]))


def overview_of(html: str) -> dict[str, object]:
    return json.loads(unpack(html, "overview"))


def head_of(packed: str) -> dict[str, object]:
    """The JSON of packed details."""
    return _head(gzip.decompress(base64.b64decode(packed)))


def head_of_page(html: str, key: str) -> dict[str, object]:
    return _head(unpack(html, re.escape(key)))


def _head(raw: bytes) -> dict[str, object]:
    count = int(np.frombuffer(raw, "<u4", 1)[0])
    start = 4 * (count + 1)
    length = int(np.frombuffer(raw, "<u4", 2)[1])
    return json.loads(raw[start : start + length])
