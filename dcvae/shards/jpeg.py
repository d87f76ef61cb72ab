"""JPEG files without the metadata that cameras and programs add."""

_SOI, _EOI, _SOS, _APP0, _APP14, _APP15, _COM = 0xD8, 0xD9, 0xDA, 0xE0, 0xEE, 0xEF, 0xFE
_RESTARTS = range(0xD0, 0xD8)
_JFIF = bytes.fromhex("ffe000104a46494600010100000100010000")


def without_metadata(data: bytes) -> bytes | None:
    """``data`` without EXIF, locations, previews, comments, colour profiles and trailing bytes.

    It decodes to the same pixels. It starts with a plain JFIF header; an Adobe segment, which says
    how colours are coded, stays. Returns None if ``data`` is not structured as a JPEG file.
    """
    if data[:2] != bytes([0xFF, _SOI]):
        return None
    kept = [data[:2], _JFIF]
    at = 2
    while True:
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if at + 2 > len(data) or data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == _EOI:
            return b"".join([*kept, data[at : at + 2]])
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + size
        if size < 2 or end > len(data) or marker in _RESTARTS or marker in (0, 1, _SOI):
            return None
        if marker == _SOS:
            end = _end_of_scan(data, end)
        is_adobe = marker == _APP14 and data[at + 4 : at + 9] == b"Adobe"
        if is_adobe:
            kept.append(data[at : at + 2] + b"\x00\x0e" + data[at + 4 : at + 16])
        elif not (_APP0 <= marker <= _APP15 or marker == _COM):
            kept.append(data[at:end])
        at = end


def _end_of_scan(data: bytes, at: int) -> int:
    """Where the coded data starting at ``at`` ends: at the next marker that is not a restart."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return len(data)
        if data[at + 1] != 0 and data[at + 1] not in _RESTARTS and data[at + 1] != 0xFF:
            return at
        at += 1 if data[at + 1] == 0xFF else 2
