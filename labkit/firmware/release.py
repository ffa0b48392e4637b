"""What a release says of itself: a plain image, an image with Secure Boot's signatures, an update with its header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labkit.errors import FormatError, ImageRefusedError
from labkit.firmware.image import MAGIC as IMAGE_MAGIC
from labkit.firmware.image import parse_image
from labkit.firmware.secure_boot import BLOCK, MOST_BLOCKS, SECTOR, parse_block, signed_length
from labkit.firmware.update import HEADER_LENGTH, MAGIC, SMALLEST_IMAGE, Header, Version, parse_header


@dataclass(frozen=True, slots=True)
class Release:
    """What is to stand in the header of an image.

    Attributes:
        product: For which product it is.
        version: Which version it is.
        secure_version: What devices do not go below any more.
    """

    product: str
    version: Version
    secure_version: int


def describe_release(
    data: bytes, *, product: str | None = None, version: str | None = None, secure_version: int | None = None
) -> Release:
    """Return what the header of an image is to say, by the image's own description.

    Args:
        data: The image.
        product: What to say of an image that says nothing; of another one it has to agree.
        version: The same.
        secure_version: The same.

    Raises:
        ImageFormatError: It begins as a chip's image and is damaged.
        ImageRefusedError: `rule` is `too-small`; `no-description`: the image says nothing and the caller neither; `product-name`
            or `version`: they can't stand in a header; `description-differs`: image and caller disagree.

    Does not check: that the image boots.
    """
    if len(data) < SMALLEST_IMAGE:
        raise _refused("too-small", f"{len(data)} bytes are no image that boots")
    told = _description(data)
    wanted = {"product": product, "version": version, "secure_version": secure_version}
    for name, value in wanted.items():
        if value is not None and told.get(name, value) != value:
            raise _refused("description-differs", f"the image says {name} {told[name]!r}, you say {value!r}")
    both = {**{name: value for name, value in wanted.items() if value is not None}, **told}
    if missing := sorted({"product", "version"} - set(both)):
        raise _refused("no-description", f"it does not say its {' and '.join(missing)}")
    if not Header.product_is_one(both["product"]):
        raise _refused("product-name", f"{both['product']!r} is no product's name")
    try:
        number = Version.parse(both["version"])
    except ValueError as error:
        raise _refused("version", str(error)) from error
    return Release(both["product"], number, both.get("secure_version", 0))


def _description(data: bytes, *, verify: bool = True) -> dict[str, Any]:
    if not data.startswith(bytes([IMAGE_MAGIC])):
        return {}
    found = parse_image(data, verify=verify).description
    if found is None:
        return {}
    return {"product": found.project, "version": found.version, "secure_version": found.secure_version}


def describe_file(data: bytes) -> dict[str, Any]:
    """Return what a file says of itself, by name.

    Raises:
        UpdateRefusedError: It begins as an update and its header is none.
        ImageFormatError: It is neither an update nor an image.

    Does not check: any signature. Whatever this says is what somebody wrote there.
    """
    if data.startswith(MAGIC):
        return _describe_update(data)
    image = parse_image(data, verify=False)
    values: dict[str, Any] = {"kind": "image", "bytes": len(data), "image bytes": image.length}
    values["checksum"] = "right" if image.checksum[0] == image.checksum[1] else "wrong"
    values["sha256"] = (
        "none" if image.digest is None else "right" if image.digest == image.actual_digest else "wrong"
    )
    for name, value in _description(data, verify=False).items():
        values[name.replace("_", " ")] = value
    sector = data[signed_length(image.length) :][:SECTOR]
    values["Secure Boot signatures"] = ", ".join(_blocks(sector)) or "none"
    return values


def _describe_update(data: bytes) -> dict[str, Any]:
    header = parse_header(data).header
    return {
        "kind": "update",
        "product": header.product,
        "version": str(header.version),
        "hardware": f"{header.hardware_min}-{header.hardware_max}",
        "secure version": header.secure_version,
        "size": header.size,
        "bytes behind the header": len(data) - HEADER_LENGTH,
        "sha256": header.digest.hex(),
        "key id": header.key_id.hex(),
    }


def _blocks(sector: bytes) -> list[str]:
    found = []
    for number in range(MOST_BLOCKS):
        try:
            block = parse_block(sector[number * BLOCK : (number + 1) * BLOCK])
        except FormatError:
            found.append("damaged")
            continue
        if block is not None:
            found.append(f"{block.scheme} by {block.key_digest.hex()[:16]}")
    return found


def _refused(rule: str, why: str) -> ImageRefusedError:
    return ImageRefusedError(
        f"This image can't be signed: {why}.",
        advice="See labkit firmware inspect FILE, and the options of labkit firmware sign --help",
        rule=rule,
    )
